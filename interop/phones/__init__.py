"""The softphones, by name."""

from .baresip import Baresip
from .linphone import Linphone
from .pjsua import Pjsua

KINDS = {"baresip": Baresip, "linphone": Linphone, "pjsua2": Pjsua}
