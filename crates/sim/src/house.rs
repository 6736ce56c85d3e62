//! A house with lines to carriers: the trunk as the product knows it and the carrier as it is, built
//! side by side so that they fit.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use actors::carrier::{Account, CarrierSettings, Habit, Tariff};
use actors::phone::{Security, Voice};
use guard::gate;
use guard::id::{TenantId, TrunkId};
use guard::money::Money;
use guard::rate::RateDeck;
use pbx::directory::{Trunk, TrunkAccess, TrunkAccount, TrunkIdentity, TrunkMedia};
use pbx::flow::Transport;
use pure::Utc;
use sip::digest::Algorithm;

use crate::server::CARRIER;
use crate::world::World;

/// A line to a carrier, before the world begins.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: &'static str,
    pub id: u32,
    pub transport: Transport,
    pub encrypted: bool,
    /// It registers; else the carrier knows our address.
    pub registers: bool,
    /// An account, needed where the carrier challenges.
    pub account: bool,
    pub channels: u16,
    pub silence_limit: Duration,
    /// The carrier's own idea of things.
    pub carrier: CarrierSettings,
}

impl Line {
    /// The `id`th line, that registers over TLS with SRTP. The first line is tried first.
    pub fn new(name: &'static str, id: u32) -> Self {
        let host = u8::try_from(id).expect("few carriers");
        let carrier = CarrierSettings {
            host: format!("{name}.test"),
            accounts: vec![Account { user: format!("{name}-user"), secret: secret(name) }],
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            expires: 120,
            expires_min: 60,
            closed: None,
            challenges_invites: false,
            challenges_calls: false,
            refuses_byes: 0,
            answers_options: true,
            security: Security::Srtp,
            only_plain: false,
            transport: sip::Transport::Tls,
            numbers: BTreeMap::new(),
            otherwise: Habit::answers(),
            channels: 10,
            tariffs: tariffs(),
            silence_limit: Some(Duration::from_secs(90)),
            media_address: Ipv4Addr::new(198, 18, 0, host).into(),
            media_port: 30_000,
            packet_interval: Duration::from_millis(500),
            voice: Voice(u64::from(id) << 32),
        };
        Self {
            name,
            id,
            transport: Transport::Tls,
            encrypted: true,
            registers: true,
            account: true,
            channels: 10,
            silence_limit: Duration::from_secs(60),
            carrier,
        }
    }

    /// It knows us by our address, over this transport.
    pub fn by_address(mut self, transport: Transport) -> Self {
        (self.registers, self.account, self.transport) = (false, false, transport);
        self
    }

    /// In clear.
    pub fn plain(mut self) -> Self {
        self.encrypted = false;
        self
    }

    /// Installs the trunk in the store and sets the carrier beside it; the carrier's place.
    pub fn build(mut self, world: &mut World) -> usize {
        self.carrier.security = if self.encrypted { Security::Srtp } else { Security::Plain };
        self.carrier.transport = over(self.transport);
        let account = self.account.then(|| TrunkAccount {
            user: format!("{}-user", self.name),
            auth_user: None,
            secret: world.server.store.no_secret(),
            weakest: gate::Algorithm::Md5,
        });
        let access = match account {
            Some(account) if self.registers => TrunkAccess::Registration(account),
            account => TrunkAccess::Address(account),
        };
        let trunk = Trunk {
            id: TrunkId(self.id),
            tenant: Some(TenantId::HOUSE),
            name: self.name.to_owned(),
            enabled: true,
            realm: CARRIER,
            host: self.carrier.host.clone(),
            port: None,
            transport: Some(self.transport),
            access,
            sources: Vec::new(),
            media: if self.encrypted { TrunkMedia::Srtp } else { TrunkMedia::DangerousPlain },
            identity: TrunkIdentity { asserted: true, from_account: false, private: false },
            default_caller_id: Some(MAIN_NUMBER.to_owned()),
            codecs: Vec::new(),
            channels: self.channels,
            priority: u16::try_from(self.id).expect("few trunks"),
            silence_limit: self.silence_limit,
            call_max: Duration::from_secs(4 * 3_600),
            authority: None,
            created: Utc(0),
        };
        world.server.store.install_trunk(trunk, &secret(self.name));
        world.add_carrier(self.name, self.carrier)
    }
}

/// A deck that says what the carriers' tariffs say.
pub fn deck(tariffs: &[Tariff]) -> RateDeck {
    let amount = |millionths: i64| {
        let unit = Money::UNIT;
        format!("{}.{:06}", millionths / unit, millionths % unit)
    };
    let mut text = String::from("prefix,name,price,connect,first,increment\n");
    for tariff in tariffs {
        let (price, connect) = (amount(tariff.per_minute), amount(tariff.connect));
        let (first, increment) = (tariff.first, tariff.increment);
        text +=
            &format!("{},{},{price},{connect},{first},{increment}\n", tariff.prefix, tariff.prefix);
    }
    let currency = "USD".parse().expect("three capitals");
    RateDeck::import(text.as_bytes(), currency, 1).expect("a sound deck")
}

/// What carriers of these worlds bill: by the second, by six, by the minute, with a fee.
pub fn tariffs() -> Vec<Tariff> {
    let tariff = |prefix: &str, per_minute, connect, first, increment| Tariff {
        prefix: prefix.to_owned(),
        per_minute,
        connect,
        first,
        increment,
    };
    vec![
        tariff("1", 12_000, 0, 6, 6),
        tariff("1800", 1_000, 0, 1, 1),
        tariff("1900", 1_990_000, 500_000, 60, 60),
        tariff("1876", 310_000, 0, 60, 60),
        tariff("44", 19_000, 10_000, 1, 1),
        tariff("447", 270_000, 0, 30, 6),
        tariff("371", 89_000, 0, 60, 60),
        tariff("8816", 6_200_000, 0, 60, 60),
    ]
}

fn over(transport: Transport) -> sip::Transport {
    match transport {
        Transport::Udp => sip::Transport::Udp,
        Transport::Tcp => sip::Transport::Tcp,
        Transport::Tls | Transport::Ws | Transport::Wss => sip::Transport::Tls,
    }
}

fn secret(name: &str) -> String {
    format!("trunk-secret-of-{name}-long")
}

/// What calls outside show.
pub const MAIN_NUMBER: &str = "+12125550100";
