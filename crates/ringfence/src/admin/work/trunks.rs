//! Carriers and numbers at them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use guard::access::Actor;
use guard::gate::Algorithm;
use guard::id::{RealmId, TrunkId};
use guard::number::Country;
use guard::numbering;
use guard::secret::Sealed;
use pbx::command::{Change, Command, Mend, NoWay, Reply, TrunkSecret, TrunkState, TrunkView};
use pbx::directory::{self, Inbound, TrunkAccount, TrunkIdentity, TrunkMedia};
use pbx::flow::Transport;
use pure::Utc;
use zeroize::Zeroizing;

use super::{Office, Result, confused, failure, owned, refused};
use crate::admin::protocol::{
    Answer, Confidential, Number, TestStep, Trunk, TrunkAccess, TrunkSettings, TrunkTest,
    TrunkTransport,
};
use crate::{config, credentials};

impl Office {
    pub(super) async fn trunks(&self, name: Option<&str>) -> Result<Answer> {
        let all = match name {
            Some(name) => vec![self.trunk(name).await?],
            None => self.trunk_views().await?,
        };
        Ok(Answer::Trunks(all.iter().map(shown).collect()))
    }

    pub(super) async fn trunk_views(&self) -> Result<Vec<TrunkView>> {
        match self.ask(Command::Trunks).await? {
            Reply::Trunks(all) => Ok(all),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    async fn trunk(&self, name: &str) -> Result<TrunkView> {
        let all = self.trunk_views().await?;
        all.into_iter().find(|one| one.trunk.name == name).ok_or_else(|| {
            failure(
                format!("there is no trunk {name}"),
                "`ringfence trunk list` shows those that exist",
            )
        })
    }

    pub(super) async fn trunk_add(
        &self,
        actor: Actor,
        name: String,
        settings: TrunkSettings,
    ) -> Result<Answer> {
        check_trunk_name(&name)?;
        let all = self.trunk_views().await?;
        if all.iter().any(|one| one.trunk.name == name) {
            return Err(failure(
                format!("there is a trunk {name} already"),
                format!("change it with `ringfence trunk set {name}`, or choose another name"),
            ));
        }
        let taken = |id: TrunkId| all.iter().any(|one| one.trunk.id == id);
        let id = self.draw(|chance| {
            loop {
                // Drawn, not counted: records of a removed trunk never name a later one.
                let id = TrunkId(u32::try_from(chance.below(TRUNK_IDS)).unwrap_or(1) + 1);
                if !taken(id) {
                    return id;
                }
            }
        });
        let now = self.clock.now().utc;
        let realm = self.trunk_realm(settings.realm.as_deref())?;
        let plain = Plain::of(&settings);
        let home = self.policy().await?.0.home;
        let (trunk, secret) =
            self.built(fresh(id, name.clone(), realm, now), settings, plain, home)?;
        let trunk = Box::new(trunk);
        self.change(actor, Change::AddTrunk { trunk, secret }).await?;
        self.trunks(Some(&name)).await
    }

    pub(super) async fn trunk_set(
        &self,
        actor: Actor,
        name: &str,
        settings: TrunkSettings,
    ) -> Result<Answer> {
        let mut trunk = self.trunk(name).await?.trunk;
        if settings.realm.is_some() {
            trunk.realm = self.trunk_realm(settings.realm.as_deref())?;
        }
        let plain = Plain::of(&settings);
        let home = self.policy().await?.0.home;
        let (trunk, secret) = self.built(trunk, settings, plain, home)?;
        self.change(actor, Change::SetTrunk { trunk: Box::new(trunk), secret }).await?;
        self.trunks(Some(name)).await
    }

    pub(super) async fn trunk_enable(
        &self,
        actor: Actor,
        name: &str,
        enabled: bool,
    ) -> Result<Answer> {
        let trunk = directory::Trunk { enabled, ..self.trunk(name).await?.trunk };
        self.change(actor, Change::SetTrunk { trunk: Box::new(trunk), secret: None }).await?;
        self.help_leaves().await
    }

    /// `Done`, and a word where the last way of a call for help is gone.
    async fn help_leaves(&self) -> Result<Answer> {
        let all = self.trunk_views().await?;
        if all.iter().any(|one| one.trunk.enabled) {
            return Ok(Answer::Done);
        }
        let why = if all.is_empty() { NoWay::NoTrunk } else { NoWay::AllDisabled };
        let (_, remedy) = super::rules::no_way(why);
        let said = format!("Calls for help cannot leave: no trunk is in service. {remedy}");
        Ok(Answer::DoneWith(vec![said]))
    }

    pub(super) async fn trunk_remove(&self, actor: Actor, name: &str) -> Result<Answer> {
        let trunk = self.trunk(name).await?.trunk.id;
        let at: Vec<String> = self
            .inbound()
            .await?
            .into_iter()
            .filter(|one| one.trunk == trunk)
            .map(|one| one.number)
            .collect();
        if let Some(first) = at.first() {
            return Err(failure(
                format!("trunk {name} brings calls to {}", at.join(", ")),
                format!("take them away first: `ringfence number remove {first}`"),
            ));
        }
        self.change(actor, Change::RemoveTrunk { trunk }).await?;
        self.help_leaves().await
    }

    pub(super) async fn trunk_test(&self, name: &str) -> Result<Answer> {
        let view = self.trunk(name).await?;
        let (trunk, disabled) = (view.trunk.id, !view.trunk.enabled);
        match self.ask(Command::TestTrunk { trunk }).await? {
            Reply::TrunkTested(test) => {
                let step = |step: pbx::command::TestStep| TestStep {
                    what: step.what.to_owned(),
                    passed: step.passed,
                    found: step.found,
                    remedy: step.mend.map(|mend| remedy(mend, name)),
                };
                let of = |weakness: &String| remedy_of_weakness(weakness, name);
                Ok(Answer::TrunkTested(TrunkTest {
                    name: name.to_owned(),
                    passed: test.passed,
                    steps: test.steps.into_iter().map(step).collect(),
                    remedies: test.weaknesses.iter().map(of).collect(),
                    weaknesses: test.weaknesses,
                    disabled,
                }))
            }
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    pub(super) async fn number_add(
        &self,
        actor: Actor,
        number: &str,
        trunk: &str,
        extension: &str,
    ) -> Result<Answer> {
        let inbound = Inbound {
            number: e164(number, self.policy().await?.0.home)?,
            tenant: self.tenant,
            trunk: self.trunk(trunk).await?.trunk.id,
            extension: self.extension_id(extension).await?,
        };
        let before = self.inbound().await?.into_iter().find(|one| one.number == inbound.number);
        let moved = before.filter(|before| *before != inbound);
        self.change(actor, Change::SetInbound { inbound }).await?;
        let Some(before) = moved else { return Ok(Answer::Done) };
        let names = self.names().await?;
        let (from, at) = (names.of_extension(before.extension), names.of_trunk(before.trunk));
        Ok(Answer::DoneWith(vec![format!("It was moved: before, it rang {from} at {at}.")]))
    }

    pub(super) async fn number_list(&self) -> Result<Answer> {
        let names = self.names().await?;
        let number = |one: Inbound| Number {
            number: one.number,
            trunk: names.of_trunk(one.trunk),
            extension: names
                .extensions
                .iter()
                .find(|(id, _)| *id == one.extension)
                .map_or_else(|| "-".to_owned(), |(_, number)| number.clone()),
        };
        let all = self.inbound().await?;
        Ok(Answer::Numbers(all.into_iter().map(number).collect()))
    }

    pub(super) async fn number_remove(&self, actor: Actor, number: &str) -> Result<Answer> {
        let number = e164(number, self.policy().await?.0.home)?;
        if !self.inbound().await?.iter().any(|one| one.number == number) {
            return Err(failure(
                format!("{number} is none of your numbers"),
                "`ringfence number list` shows them",
            ));
        }
        // Whoever showed it shows no number that isn't ours.
        let mut said = Vec::new();
        for view in self.extensions().await? {
            let one = view.extension;
            if one.caller_id.as_deref() == Some(number.as_str()) {
                let change = Change::SetCallerId { extension: one.id, caller_id: None };
                self.change(actor.clone(), change).await?;
                said.push(format!(
                    "Extension {} showed it outside, and shows the trunk's number now.",
                    one.number
                ));
            }
        }
        self.change(actor, Change::RemoveInbound { number }).await?;
        Ok(if said.is_empty() { Answer::Done } else { Answer::DoneWith(said) })
    }

    pub(super) async fn caller_id(
        &self,
        actor: Actor,
        extension: &str,
        caller_id: Option<&str>,
    ) -> Result<Answer> {
        let extension = self.extension_id(extension).await?;
        let home = self.policy().await?.0.home;
        let caller_id = caller_id.map(|number| e164(number, home)).transpose()?;
        self.change(actor, Change::SetCallerId { extension, caller_id }).await
    }

    pub(super) async fn inbound(&self) -> Result<Vec<Inbound>> {
        match self.ask(Command::Inbound).await? {
            Reply::Inbound(all) => Ok(all),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    /// The one named; else the one called `carrier`; else the first.
    fn trunk_realm(&self, name: Option<&str>) -> Result<RealmId> {
        let find = |name: &str| self.realms.iter().find(|(known, _)| known == name);
        let found = match name {
            Some(name) => find(name),
            None => find("carrier").or(self.realms.first()),
        };
        found.map(|(_, id)| *id).ok_or_else(|| {
            let known: Vec<&str> = self.realms.iter().map(|(name, _)| name.as_str()).collect();
            failure(
                format!("there is no realm {}", name.unwrap_or("carrier")),
                format!("name one of the configuration file: {}", known.join(", ")),
            )
        })
    }

    /// The trunk with what is said of it, and its secret where a new one came.
    fn built(
        &self,
        trunk: directory::Trunk,
        mut settings: TrunkSettings,
        plain: Plain,
        home: Country,
    ) -> Result<(directory::Trunk, Option<TrunkSecret>)> {
        let secret = settings.secret.take();
        let sealed = secret.as_ref().map(|Confidential(clear)| directory::Secret {
            sealed: self.draw(|chance| {
                let record = credentials::trunk_record(trunk.id);
                Sealed::seal(&self.key, chance, record.as_bytes(), clear.as_bytes())
            }),
            since: self.clock.now().utc,
        });
        let trunk = changed(trunk, settings, sealed, plain, home)?;
        Ok((trunk, secret.map(|Confidential(clear)| TrunkSecret(clear))))
    }
}

/// What is weaker than the default, asked for by name.
#[derive(Clone, Copy)]
struct Plain {
    rtp: Option<bool>,
    md5: Option<bool>,
}

impl Plain {
    fn of(settings: &TrunkSettings) -> Self {
        Self { rtp: settings.plain_rtp, md5: settings.allow_md5 }
    }
}

/// A trunk before anything was said of it: encrypted, and no MD5.
fn fresh(id: TrunkId, name: String, realm: RealmId, created: Utc) -> directory::Trunk {
    directory::Trunk {
        id,
        tenant: None,
        name,
        enabled: true,
        realm,
        host: String::new(),
        port: None,
        transport: Some(Transport::Tls),
        access: directory::TrunkAccess::Address(None),
        sources: Vec::new(),
        media: TrunkMedia::Srtp,
        identity: TrunkIdentity { asserted: false, from_account: false, private: false },
        default_caller_id: None,
        codecs: Vec::new(),
        channels: CHANNELS,
        priority: PRIORITY,
        silence_limit: SILENCE_LIMIT,
        call_max: CALL_MAX,
        authority: None,
        created,
    }
}

/// `sealed`: the new secret; without one the present one stays.
fn changed(
    mut trunk: directory::Trunk,
    settings: TrunkSettings,
    sealed: Option<directory::Secret>,
    plain: Plain,
    home: Country,
) -> Result<directory::Trunk> {
    if let Some(text) = &settings.server {
        (trunk.host, trunk.port) = server(text)?;
    }
    if trunk.host.is_empty() {
        return Err(failure(
            "a trunk needs the carrier's server",
            "give it with --server, such as --server sip.example.net",
        ));
    }
    if let Some(transport) = settings.transport {
        trunk.transport = match transport {
            TrunkTransport::Tls => Some(Transport::Tls),
            TrunkTransport::Tcp => Some(Transport::Tcp),
            TrunkTransport::Udp => Some(Transport::Udp),
            TrunkTransport::Auto => None,
        };
    }
    trunk.access = access(&trunk, &settings, sealed, plain)?;
    if let Some(TrunkAccess::Address(sources)) = settings.access {
        trunk.sources = checked_sources(sources)?;
    }
    if let Some(allowed) = plain.rtp {
        trunk.media = if allowed { TrunkMedia::DangerousPlain } else { TrunkMedia::Srtp };
    }
    let identity = &mut trunk.identity;
    identity.asserted = settings.asserted.unwrap_or(identity.asserted);
    identity.from_account = settings.from_account.unwrap_or(identity.from_account);
    identity.private = settings.private.unwrap_or(identity.private);
    if identity.from_account && trunk.account().is_none() {
        return Err(failure(
            "there is no account whose user could stand in From",
            "give the account with --user, or leave --from-account out",
        ));
    }
    if let Some(number) = settings.caller_id {
        trunk.default_caller_id = if number.is_empty() { None } else { Some(e164(&number, home)?) };
    }
    if let Some(codecs) = settings.codecs {
        trunk.codecs = checked_codecs(codecs)?;
    }
    trunk.channels = settings.channels.unwrap_or(trunk.channels);
    trunk.priority = settings.priority.unwrap_or(trunk.priority);
    if !(1..=CHANNELS_MAX).contains(&trunk.channels) {
        return Err(failure(
            format!("a trunk has 1 to {CHANNELS_MAX} channels"),
            "ask the carrier how many calls it takes at once",
        ));
    }
    trunk.silence_limit =
        settings.silence_limit_seconds.map_or(trunk.silence_limit, Duration::from_secs);
    if !(SILENCE_MIN..=SILENCE_MAX).contains(&trunk.silence_limit) {
        return Err(failure(
            "a silent call is ended after 60 s to 1 h",
            "give --silence-limit 120s: shorter cuts held calls, longer lets a lost call cost more",
        ));
    }
    trunk.call_max = settings.longest_seconds.map_or(trunk.call_max, Duration::from_secs);
    if !(LONGEST_MIN..=LONGEST_MAX).contains(&trunk.call_max) {
        return Err(failure("the longest call has 1 min to 24 h", "give --longest 4h"));
    }
    if let Some(pem) = settings.authority {
        trunk.authority = if pem.is_empty() { None } else { Some(checked_authority(pem)?) };
    }
    Ok(trunk)
}

fn access(
    trunk: &directory::Trunk,
    settings: &TrunkSettings,
    sealed: Option<directory::Secret>,
    plain: Plain,
) -> Result<directory::TrunkAccess> {
    let present = trunk.account();
    let user = settings.user.clone().or_else(|| present.map(|account| account.user.clone()));
    let account = match user {
        None if sealed.is_some() => {
            return Err(failure(
                "a secret needs the user it belongs to",
                "give the account's name with --user",
            ));
        }
        None => None,
        Some(user) => {
            let secret = sealed.or_else(|| present.map(|account| account.secret.clone()));
            let secret = secret.ok_or_else(|| {
                failure(
                    "an account needs its secret",
                    "give it with --secret-file FILE, or --secret-file - to be asked for it",
                )
            })?;
            let auth_user = match &settings.auth_user {
                Some(name) if name.is_empty() => None,
                Some(name) => Some(checked_user(name)?),
                None => present.and_then(|account| account.auth_user.clone()),
            };
            let weakest = match plain.md5 {
                Some(true) => Algorithm::Md5,
                Some(false) => Algorithm::Sha256,
                None => present.map_or(Algorithm::Sha256, |account| account.weakest),
            };
            Some(TrunkAccount { user: checked_user(&user)?, auth_user, secret, weakest })
        }
    };
    let registers = match &settings.access {
        Some(TrunkAccess::Register) => true,
        Some(TrunkAccess::Address(_)) => false,
        // Whoever gives an account to a new trunk means to register with it.
        None if present.is_none() => account.is_some(),
        None => matches!(trunk.access, directory::TrunkAccess::Registration(_)),
    };
    match (registers, account) {
        (true, Some(account)) => Ok(directory::TrunkAccess::Registration(account)),
        (true, None) => Err(failure(
            "registering needs an account",
            "give it with --user and --secret-file, or use --address",
        )),
        (false, account) => Ok(directory::TrunkAccess::Address(account)),
    }
}

fn shown(view: &TrunkView) -> Trunk {
    let trunk = &view.trunk;
    let account = trunk.account();
    let (state, since, expires, why, retry) = match &view.state {
        TrunkState::Disabled => ("disabled", None, None, None, None),
        TrunkState::Connecting => ("connecting", None, None, None, None),
        TrunkState::Up { since, expires } => ("up", Some(*since), *expires, None, None),
        TrunkState::Down { why, since, retry } => {
            ("down", Some(*since), None, Some(why.clone()), Some(*retry))
        }
    };
    let text = |at: Option<Utc>| at.map(|at| at.to_string());
    let server = match (trunk.port, trunk.host.contains(':')) {
        (None, _) => trunk.host.clone(),
        (Some(port), false) => format!("{}:{port}", trunk.host),
        (Some(port), true) => format!("[{}]:{port}", trunk.host),
    };
    Trunk {
        name: trunk.name.clone(),
        enabled: trunk.enabled,
        state: state.to_owned(),
        since: text(since),
        expires: text(expires),
        why,
        retry: text(retry),
        server,
        transport: trunk.transport.map_or("auto".to_owned(), |one| one.via().to_lowercase()),
        access: match trunk.access {
            directory::TrunkAccess::Registration(_) => "registration",
            directory::TrunkAccess::Address(_) => "address",
        }
        .to_owned(),
        addresses: trunk.sources.iter().map(ToString::to_string).collect(),
        user: account.map(|account| account.user.clone()),
        auth_user: account.and_then(|account| account.auth_user.clone()),
        caller_id: trunk.default_caller_id.clone(),
        asserted_identity: trunk.identity.asserted,
        from_account: trunk.identity.from_account,
        private: trunk.identity.private,
        codecs: trunk.codecs.clone(),
        channels: trunk.channels,
        calls: view.calls,
        priority: trunk.priority,
        silence_limit_seconds: trunk.silence_limit.as_secs(),
        longest_seconds: trunk.call_max.as_secs(),
        own_authority: trunk.authority.is_some(),
        media: match trunk.media {
            TrunkMedia::Srtp => "srtp",
            TrunkMedia::DangerousPlain => "plain",
        }
        .to_owned(),
        md5: account.is_some_and(|account| account.weakest == Algorithm::Md5),
        places: view
            .places
            .iter()
            .map(|place| format!("{} {}", place.transport.via(), place.remote))
            .collect(),
        tls: view.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.suite)),
        weaknesses: owned(&view.weaknesses),
        created: trunk.created.to_string(),
    }
}

/// What mends a failed step, as words and, where a setting does, the command.
pub(crate) fn remedy(mend: Mend, name: &str) -> String {
    let set =
        |words: &str, options: &str| format!("{words}:  ringfence trunk set {name} {options}");
    match mend {
        Mend::Server => set("Correct the carrier's server", "--server HOST:PORT"),
        Mend::ServerName => set("Use the name that its certificate bears", "--server HOST"),
        Mend::Transport => set(
            "Correct the server's port, or how it is spoken with (tls, tcp, udp)",
            "--server HOST:PORT --transport tls",
        ),
        Mend::Authority => {
            set("Trust the authority that signs the carrier's certificate", "--ca FILE")
        }
        Mend::Realm => {
            set("See `carrier_port` in ringfence.toml, or use another side", "--realm NAME")
        }
        Mend::User => set(
            "Correct the account's name, as the carrier wrote it",
            "--user USER --auth-user USER",
        ),
        Mend::Secret => set("Give the account's password anew", "--secret-file -"),
        Mend::Account => set(
            "If the carrier wants an account rather than our address",
            "--register --user USER --secret-file -",
        ),
        Mend::Md5 => set("Ask the carrier for SHA-256, or allow MD5 as a weakness", "--allow-md5"),
        Mend::Address => set(
            "Ask the carrier why, or let it know this host by its address",
            "--address 192.0.2.8",
        ),
        Mend::Host => "No setting of the trunk: see that this host's clock is right.".to_owned(),
        Mend::Carrier => "No setting of the trunk: the carrier must mend it.".to_owned(),
        Mend::Again => {
            format!("It may pass; else ask the carrier. Again:  ringfence trunk test {name}")
        }
    }
}

/// What takes a weakness away.
pub(crate) fn remedy_of_weakness(weakness: &str, name: &str) -> String {
    let set =
        |words: &str, options: &str| format!("{words}:  ringfence trunk set {name} {options}");
    match weakness {
        "signalling is not encrypted" | "audio keys travel in clear signalling" => {
            set("If the carrier has TLS", "--transport tls")
        }
        "audio is not encrypted" => set("If the carrier has SRTP", "--dangerous-plain-rtp=false"),
        "digest may use MD5" | "digest MD5" => {
            set("If the carrier has SHA-256", "--allow-md5=false")
        }
        _ => {
            "No setting of the trunk: ask the carrier for 200; calls don't depend on it.".to_owned()
        }
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address, or one in brackets with a port.
pub(super) fn server(text: &str) -> Result<(String, Option<u16>)> {
    let wrong = || {
        failure(
            format!("`{text}` is no server"),
            "give a host name or an address, with a port if need be: sip.example.net:5061",
        )
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address.to_string(), None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(wrong()),
            port => Ok((address.ip().to_string(), Some(port))),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0))),
        None => (text, None),
    };
    match port {
        Some(None) => Err(wrong()),
        _ if !config::is_host_name(host) => Err(wrong()),
        port => Ok((host.to_ascii_lowercase(), port.flatten())),
    }
}

/// As it is compared with what callers and carriers write: `+` and E.164.
fn e164(text: &str, home: Country) -> Result<String> {
    numbering::e164(text, home).ok_or_else(|| {
        failure(
            format!("`{text}` is no number with its country code"),
            "write it with a plus, such as +12025550123",
        )
    })
}

fn check_trunk_name(name: &str) -> Result<()> {
    let fits = (1..=TRUNK_NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(failure(
        format!("`{name}` can't be a trunk's name"),
        format!("use 1 to {TRUNK_NAME_MAX} letters, digits, dots, dashes and underscores"),
    ))
}

/// It becomes the user part of a SIP address and a word in a quoted string.
fn checked_user(user: &str) -> Result<String> {
    let fits = (1..=USER_MAX).contains(&user.len())
        && user.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte));
    if fits {
        return Ok(user.to_owned());
    }
    Err(failure(
        format!("`{user}` can't be the user of an account"),
        "copy it as the carrier wrote it: no spaces, no quotes",
    ))
}

fn checked_sources(sources: Vec<IpAddr>) -> Result<Vec<IpAddr>> {
    if sources.len() > SOURCES_MAX {
        return Err(failure(
            format!("a trunk has {SOURCES_MAX} addresses at most"),
            "add a second trunk for the rest",
        ));
    }
    match sources.iter().find(|address| address.is_unspecified() || address.is_multicast()) {
        Some(address) => Err(failure(
            format!("no call comes from {address}"),
            "give the addresses that the carrier calls from",
        )),
        None => Ok(sources),
    }
}

fn checked_codecs(codecs: Vec<String>) -> Result<Vec<String>> {
    let is_name = |codec: &String| {
        (1..=CODEC_NAME_MAX).contains(&codec.len())
            && codec.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let known = |codec: &String| CODECS.iter().any(|known| known.eq_ignore_ascii_case(codec));
    if codecs.len() <= CODECS_MAX && codecs.iter().all(is_name) {
        // A name that nobody offers would leave calls without any codec.
        return match codecs.iter().find(|codec| !known(codec)) {
            None => Ok(codecs),
            Some(unknown) => Err(failure(
                format!("{unknown} is no codec known here"),
                format!("name some of {}", CODECS.join(", ")),
            )),
        };
    }
    Err(failure(
        format!("{} are no codecs", codecs.join(",")),
        format!("name {CODECS_MAX} at most, preferred first: PCMA,PCMU,G722,opus"),
    ))
}

pub(super) fn checked_authority(pem: String) -> Result<String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let certificates: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err(failure(
            "the authority's file holds no certificate in PEM",
            "give a file that has `-----BEGIN CERTIFICATE-----` in it",
        )),
    }
}

/// A secret as it came: a line, without its end.
pub(crate) fn secret(text: &str) -> std::result::Result<Confidential, String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.len() > SECRET_MAX || line.chars().any(char::is_control) {
        return Err(format!("a secret is one line of 1 to {SECRET_MAX} characters"));
    }
    Ok(Confidential(Zeroizing::new(line.to_owned())))
}

/// What a small carrier account has; the owner raises it.
const CHANNELS: u16 = 10;
/// One carrier may bring all calls that a node can carry (`limits.calls`), with a quarter of its lines kept for calls out.
const CHANNELS_MAX: u16 = 27_000;
/// In the middle, so that others fit before and after.
const PRIORITY: u16 = 10;
/// Longer than music-less hold by habit, short enough that a lost BYE costs little.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
const SILENCE_MIN: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
const CALL_MAX: Duration = Duration::from_secs(4 * 3_600);
const LONGEST_MIN: Duration = Duration::from_secs(60);
const LONGEST_MAX: Duration = Duration::from_secs(86_400);
const TRUNK_IDS: u64 = u32::MAX as u64 - 1;
/// Fits in a table.
const TRUNK_NAME_MAX: usize = 32;
/// Carriers use account numbers and e-mail addresses.
const USER_MAX: usize = 128;
const SECRET_MAX: usize = 256;
const SOURCES_MAX: usize = 32;
const CODECS_MAX: usize = 16;
/// By their names in SDP (IANA's registry of RTP encodings): what phones and carriers offer.
const CODECS: [&str; 16] = [
    "PCMA",
    "PCMU",
    "G722",
    "opus",
    "G729",
    "G723",
    "GSM",
    "iLBC",
    "speex",
    "AMR",
    "AMR-WB",
    "EVS",
    "G726-32",
    "G7221",
    "L16",
    "telephone-event",
];
const CODEC_NAME_MAX: usize = 32;
