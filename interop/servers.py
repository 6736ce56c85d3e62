from dataclasses import dataclass
@dataclass
class Account:
    number: str
    secret: str
    domain: str
    port: int
