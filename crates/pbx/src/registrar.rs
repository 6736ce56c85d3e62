//! Who may call and be called: the directory in memory, its devices, and where each can be reached.
//!
//! A binding over a connection belongs to its flow: calls to that phone use it, a new connection of
//! the same device replaces it, and a dead flow makes the phone unreachable at once (RFC 5626's aim
//! without asking phones for RFC 5626). A binding over UDP outlives our process: the socket opens again,
//! and the phone still hears it. A device is told from another by its `+sip.instance`, its
//! registration's Call-ID, or its Contact: real phones change one or two of them when they reconnect.
//!
//! Nothing here waits: what must be stored leaves as an [`Effect`]. A changed secret or extension is
//! prepared, made durable by the caller, and then applied.

mod change;
mod devices;
mod register;
mod stale;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use guard::fact::Fact;
use guard::id::{DeviceId, ExtensionId, NodeId, RealmId, TenantId};
use guard::number::{Country, ExtensionNumber};
use guard::source::Source;
use guard::wall::{Ban, STANDING, Wall, Who};
use pure::{Chance, Instant, Map, Now, TimerId, Timers, Utc};
use sip::digest::{Algorithm, Nonces, NoncesConfig};
use sip::{Name, Request, Response, ResponseBuilder, Status};

pub use change::Prepared;
pub use stale::Stale;

use crate::authenticate::Puzzled;
use crate::command::Credentials;
use crate::directory::{Device, Exceptions, Extension, Tenant};
use crate::failures::Failures;
use crate::flow::{FlowId, FlowOpened, Path, TlsFacts, Transport};
use crate::pace::{Pace, REGISTRATIONS_MAX};
use crate::record::{BindingRow, Loaded, Row};
use crate::throttle::Throttle;
use devices::Devices;
use stale::Stales;

/// The directory and its bindings. One for each exchange.
#[derive(Debug)]
pub struct Registrar {
    pub(crate) settings: RegistrarSettings,
    node: NodeId,
    tenants: BTreeMap<TenantId, Tenant>,
    accounts: BTreeMap<ExtensionId, Account>,
    numbers: BTreeMap<(TenantId, ExtensionNumber), ExtensionId>,
    /// Numbers of extensions that are being written: two additions of one number can't both win.
    pending: BTreeSet<(TenantId, ExtensionNumber)>,
    devices: Devices,
    /// Registered over UDP before a restart, until the realm's socket is open again. At most as many as
    /// were stored.
    waiting: BTreeMap<DeviceId, BindingRow>,
    /// Devices bound at a path; one connection can carry several.
    at: BTreeMap<Path, BTreeSet<DeviceId>>,
    flows: BTreeMap<FlowId, FlowOpened>,
    expiries: Timers<DeviceId>,
    pub(crate) nonces: Nonces,
    pub(crate) decoy_key: [u8; 32],
    pub(crate) failures: Failures,
    pub(crate) stale: Stales,
    pub(crate) wall: Wall,
    newcomers: Throttle<ExtensionId>,
    /// Changes of who is registered.
    changes: Pace<(ExtensionId, Source)>,
    /// By Call-ID.
    pub(crate) puzzled: Map<String, Puzzled>,
    chance: Chance,
}

/// What the operator chose, each with its reason.
#[derive(Clone, Debug)]
pub struct RegistrarSettings {
    pub home: Country,
    /// What an unknown device is offered, preferred first. Some phones fail on a challenge they don't
    /// know: those known to are offered MD5 alone, and so is whoever comes back without an answer. A
    /// device that shows SHA-256 is held to it from then on.
    pub first_contact: &'static [Algorithm],
    /// Granted at the most on connections: short, since after a crash of ours a phone may notice
    /// nothing until it refreshes; and above 60 s, after which some phones try a lost connection anew.
    pub expires_max_connection: Duration,
    /// Granted at the most on UDP: within the lifetime of most address translations.
    pub expires_max_datagram: Duration,
    /// Asked for less (but not zero): 423 with Min-Expires. A refresh costs two messages.
    pub expires_min: Duration,
    /// Devices known per extension; at the bound the one unseen for longest is forgotten.
    pub devices_max: usize,
    /// Devices registered at once per extension: each rings, so each is a leg. At the bound 403.
    pub bindings_max: usize,
    /// Only a test may: see [`crate::settings::Dangerous`].
    pub without_wall: bool,
}

/// What the registrar wants done. In order.
#[derive(Debug)]
pub enum Effect {
    Persist(Vec<Row>),
    Fact {
        tenant: TenantId,
        fact: Fact,
    },
    /// The connection's device has come back on another one.
    CloseFlow(FlowId),
    /// A device can be reached on this path (again): legs orphaned by a crash can be ended there.
    Reachable {
        device: DeviceId,
        path: Path,
    },
}

/// Where a call to an extension may ring.
#[derive(Clone, Debug)]
pub struct Target {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub extension: ExtensionId,
    pub path: Path,
    pub realm: RealmId,
    /// The phone's own Contact: what goes into the Request-URI.
    pub request_uri: String,
    pub agent: String,
    pub algorithm: guard::gate::Algorithm,
    pub tls: Option<TlsFacts>,
    pub exceptions: Exceptions,
}

/// An extension with its digests: password-equivalent, in memory only.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) extension: Extension,
    pub(crate) credentials: Credentials,
    former: Option<Credentials>,
}

#[derive(Debug)]
struct Known {
    device: Device,
    /// Its last registration, which may be over.
    last: Option<Last>,
    binding: Option<Binding>,
}

/// What a device that comes back is recognised by.
#[derive(Debug)]
struct Last {
    /// Where it registered from: an emergency call from there is believed.
    remote: SocketAddr,
    contact: String,
    call_id: String,
}

#[derive(Debug)]
struct Binding {
    path: Path,
    contact: String,
    call_id: String,
    cseq: u32,
    algorithm: guard::gate::Algorithm,
    registered: Utc,
    expires: Utc,
    timer: TimerId,
}

impl Registrar {
    pub fn new(
        settings: RegistrarSettings,
        node: NodeId,
        loaded: Directory,
        now: Now,
        mut chance: Chance,
    ) -> Self {
        let wall = Wall::new(now, settings.without_wall, loaded.bans);
        let nonces = NoncesConfig { lifetime: NONCE_LIFETIME, served_max: NONCES_SERVED_MAX };
        let nonces = Nonces::new(nonces, node.0, chance.fork(), now);
        let decoy_key = chance.bytes();
        let failures = Failures::new(chance.hash_seed());
        let newcomers = Throttle::new(NEWCOMER_INTERVAL, chance.hash_seed());
        let by_place = chance.hash_seed();
        let mut registrar = Self {
            settings,
            node,
            tenants: loaded.tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect(),
            accounts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            pending: BTreeSet::new(),
            devices: Devices::default(),
            waiting: BTreeMap::new(),
            at: BTreeMap::new(),
            flows: BTreeMap::new(),
            expiries: Timers::new(),
            nonces,
            decoy_key,
            failures,
            stale: Stales::default(),
            wall,
            newcomers,
            changes: Pace::new(REGISTRATIONS_MAX, by_place),
            puzzled: Map::new(by_place),
            chance,
        };
        for (extension, credentials, former) in loaded.extensions {
            registrar.insert(Account { extension, credentials, former });
        }
        for device in loaded.devices {
            let known = Known { device, last: None, binding: None };
            registrar.devices.insert(known);
        }
        // Connections died with the process: what was bound says where from, not where. Over UDP nothing died.
        for row in loaded.bindings {
            if let Some(known) = registrar.devices.get_mut(&row.device) {
                let ago = now.utc.since(row.registered);
                registrar.wall.stands(now, row.remote.ip().into(), row.extension, ago);
                let (contact, call_id) = (row.contact.clone(), row.call_id.clone());
                known.last = Some(Last { remote: row.remote, contact, call_id });
                // One that was taken away ends with its beginning, whatever the clock says now.
                let stands = row.expires > now.utc && row.expires > row.registered;
                if row.transport == Transport::Udp && row.node == node && stands {
                    registrar.waiting.insert(row.device, row);
                }
            }
        }
        registrar
    }

    pub fn extension(&self, id: ExtensionId) -> Option<&Extension> {
        self.accounts.get(&id).map(|account| &account.extension)
    }

    /// Whether somebody outside who shows this name would be taken for one of us.
    pub(crate) fn is_name_of_ours(&self, shown: &str) -> bool {
        let shown = shown.trim();
        self.accounts.values().any(|account| {
            let own = &account.extension;
            own.name.trim().eq_ignore_ascii_case(shown) || own.number.as_str() == shown
        })
    }

    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id).map(|known| &known.device)
    }

    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.get(&id)
    }

    /// The tenant that a request means: by the host of its Request-URI or of To. A name that nobody
    /// claims means the first tenant: phones are configured by address as often as by name, and a
    /// refusal would tell a stranger which names exist.
    pub fn tenant_of(&self, request: &Request) -> TenantId {
        let to = request.headers().to();
        let hosts = [request.uri().host_str(), to.uri().host_str()];
        let claimed = self.tenants.values().find(|tenant| {
            let claims = |host: &&str| tenant.domains.iter().any(|d| d.eq_ignore_ascii_case(host));
            hosts.iter().any(claims)
        });
        claimed.or_else(|| self.tenants.values().next()).map_or(TenantId::HOUSE, |tenant| tenant.id)
    }

    /// The extension that somebody of this tenant dialled. Disabled ones don't exist.
    pub fn resolve(&self, tenant: TenantId, dialled: &str) -> Option<ExtensionId> {
        let (id, account) = self.account_named(tenant, dialled)?;
        account.enabled().then_some(id)
    }

    /// Every device of the extension that can be called now.
    pub fn targets(&self, extension: ExtensionId) -> Vec<Target> {
        let Some(account) = self.accounts.get(&extension).filter(|account| account.enabled())
        else {
            return Vec::new();
        };
        let of_extension = self.devices.of(extension);
        of_extension
            .filter_map(|known| {
                let binding = known.binding.as_ref()?;
                let flow = self.flows.get(&binding.path.flow)?;
                Some(Target {
                    tenant: account.extension.tenant,
                    device: known.device.id,
                    extension,
                    path: binding.path,
                    realm: flow.realm,
                    request_uri: binding.contact.clone(),
                    agent: known.device.agent.clone(),
                    algorithm: binding.algorithm,
                    tls: flow.tls.clone(),
                    exceptions: account.extension.exceptions.or(known.device.exceptions),
                })
            })
            .collect()
    }

    /// The device of this extension that is registered at this path. An extension has few devices; a path may have
    /// thousands, where a proxy stands before the phones.
    pub fn device_at(&self, path: Path, extension: ExtensionId) -> Option<DeviceId> {
        let here = self.at.get(&path)?;
        self.devices.of(extension).map(|known| known.device.id).find(|id| here.contains(id))
    }

    /// Whether this device's registration lives on this path now.
    pub fn is_at(&self, device: DeviceId, path: Path) -> bool {
        self.at.get(&path).is_some_and(|devices| devices.contains(&device))
    }

    /// A device that an emergency call from this path is believed to come from, and when it last
    /// registered: the one bound there, else one of an extension in service that registered from this
    /// address before. [`Self::is_bound`] tells them apart.
    pub fn known_device(&self, path: Path) -> Option<(DeviceId, Utc)> {
        let here = self.at.get(&path).and_then(|devices| devices.first());
        let from_here = |known: &&Known| {
            known.last.as_ref().is_some_and(|last| last.remote.ip() == path.remote.ip())
                && self.accounts.get(&known.device.extension).is_some_and(Account::enabled)
        };
        let known = match here {
            Some(id) => self.devices.get(id),
            None => {
                self.devices.values().filter(from_here).max_by_key(|known| known.device.last_seen)
            }
        };
        known.map(|known| (known.device.id, known.device.last_seen))
    }

    pub fn flow(&self, flow: FlowId) -> Option<&FlowOpened> {
        self.flows.get(&flow)
    }

    /// `phones`: the port at which the flow's realm hears phones over UDP. Carriers have another one.
    pub fn flow_opened(
        &mut self,
        now: Now,
        opened: FlowOpened,
        phones: Option<u16>,
        out: &mut Vec<Effect>,
    ) {
        let (flow, realm) = (opened.flow, opened.realm);
        let is_socket = flow.transport == Transport::Udp && opened.remote.is_none();
        let hears_phones = is_socket && phones == Some(opened.local.port());
        self.flows.insert(flow, opened);
        if hears_phones {
            self.take_up(now, flow, realm, out);
        }
    }

    /// Who was registered through this socket before a restart is so still: it was proved then, and the
    /// phone knows of nothing that ended.
    fn take_up(&mut self, now: Now, flow: FlowId, realm: RealmId, out: &mut Vec<Effect>) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (here, elsewhere): (BTreeMap<_, _>, _) =
            waiting.partition(|(_, row)| row.realm == realm);
        self.waiting = elsewhere;
        for (device, row) in here {
            // No longer than could be granted now: the clock may have stepped back.
            let left = row.expires.since(now.utc).min(Transport::Udp.expires_max(&self.settings));
            let Some(known) = self.devices.get_mut(&device) else { continue };
            let proved = self.accounts.get(&known.device.extension).is_some_and(|account| {
                account.enabled() && account.extension.secret.since <= row.registered
            });
            if left.is_zero() || !proved {
                continue;
            }
            let path = Path { flow, remote: row.remote };
            known.binding = Some(Binding {
                path,
                contact: row.contact,
                call_id: row.call_id,
                cseq: row.cseq,
                algorithm: row.algorithm,
                registered: row.registered,
                expires: now.utc + left,
                timer: self.expiries.set(now.instant + left, device),
            });
            self.at.entry(path).or_default().insert(device);
            self.wall.bound(path.remote.ip().into());
            out.push(Effect::Reachable { device, path });
        }
    }

    /// What was bound to the flow is unreachable from now on.
    pub fn flow_closed(&mut self, flow: FlowId, out: &mut Vec<Effect>) {
        self.flows.remove(&flow);
        let first = Path { flow, remote: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0) };
        let on_flow = self.at.range(first..).take_while(|(path, _)| path.flow == flow);
        let lost: Vec<DeviceId> = on_flow.flat_map(|(_, devices)| devices).copied().collect();
        for device in lost {
            if let Some(extension) = self.unbind(device) {
                let fact = Fact::FlowLost { device, extension };
                out.push(self.of_extension(extension, fact));
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let ours = [self.expiries.next(), self.failures.next(), self.wall.poll_timeout()];
        ours.into_iter().flatten().min()
    }

    /// Ends the bindings whose time has come.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(device) = self.expiries.pop(now.instant) {
            if let Some(extension) = self.unbind(device) {
                let fact = Fact::RegistrationExpired { device, extension };
                out.push(self.of_extension(extension, fact));
            }
        }
        while let Some((tenant, fact)) = self.failures.pop(now.instant) {
            out.push(Effect::Fact { tenant, fact });
        }
        self.wall.expire(now);
    }

    /// What is held back of failed sign-ins, before the end.
    pub(crate) fn tell_failures(&mut self, out: &mut Vec<Effect>) {
        while let Some((tenant, fact)) = self.failures.drain() {
            out.push(Effect::Fact { tenant, fact });
        }
    }

    /// Failed sign-ins that no fact has told yet.
    pub(crate) fn sign_ins_untold(&self) -> u64 {
        self.failures.held_back().saturating_add(self.stale.held_back())
    }

    /// Phones that try the password before the last rotation.
    pub fn stale(&self, now: Instant) -> Vec<Stale> {
        self.stale.list(now)
    }

    pub fn wall(&self) -> &Wall {
        &self.wall
    }

    /// The connections from this source.
    pub(crate) fn flows_from(&self, source: Source) -> Vec<FlowId> {
        let from =
            |flow: &&FlowOpened| flow.remote.is_some_and(|at| Source::from(at.ip()) == source);
        self.flows.values().filter(from).map(|opened| opened.flow).collect()
    }

    pub(crate) fn has_connection_from(&self, source: Source) -> bool {
        let connections = self.flows.values().filter(|flow| flow.flow.transport.is_reliable());
        let mut remotes = connections.filter_map(|flow| flow.remote);
        remotes.any(|remote| Source::from(remote.ip()) == source)
    }

    /// Whether this is an address of ours.
    pub(crate) fn is_own_address(&self, source: Source) -> bool {
        self.flows.values().any(|flow| Source::from(flow.local.ip()) == source)
    }

    /// Whether a phone is registered on this very path.
    pub(crate) fn is_bound(&self, path: Path) -> bool {
        self.at.contains_key(&path)
    }

    pub(crate) fn account_named(
        &self,
        tenant: TenantId,
        user: &str,
    ) -> Option<(ExtensionId, &Account)> {
        let number = ExtensionNumber::restore(user).ok()?;
        let id = *self.numbers.get(&(tenant, number))?;
        self.accounts.get(&id).map(|account| (id, account))
    }

    pub(crate) fn realm(&self, tenant: TenantId) -> &str {
        self.tenants.get(&tenant).map_or("pbx", |tenant| &tenant.realm)
    }

    /// The device that a request says it comes from: by its instance, else the one at its path.
    pub(crate) fn claimed_device(
        &self,
        tenant: TenantId,
        request: &Request,
        path: Path,
    ) -> Option<&Device> {
        let from = request.headers().from();
        let named = self.account_named(tenant, &from.uri().user_unescaped()?);
        // The same search where there is no such account: its length must not tell.
        let extension = named.map_or(NOBODY, |(extension, _)| extension);
        if let Some(instance) = instance_of(request) {
            return self
                .devices
                .of(extension)
                .map(|known| &known.device)
                .find(|device| device.instance == instance);
        }
        self.device_at(path, extension).and_then(|id| self.device(id))
    }

    /// Which device of this extension a request says it comes from, as far as failures are concerned: what
    /// it is known by must have been at this source before. `None`: no such extension.
    pub(crate) fn who(
        &self,
        now: Now,
        extension: Option<ExtensionId>,
        request: &Request,
        path: Path,
    ) -> Who {
        let extension = extension.unwrap_or(NOBODY);
        if let Some(device) = self.device_at(path, extension) {
            return Who::Bound(device);
        }
        let source = Source::from(path.remote.ip());
        let (instance, call_id) = (instance_of(request), request.headers().call_id());
        let contact = request.headers().contacts().next();
        let contact = contact.as_ref().map(|contact| contact.uri().as_str());
        let here = |known: &&Known| {
            known.last.as_ref().is_some_and(|last| Source::from(last.remote.ip()) == source)
        };
        // After a power cut a phone without an instance has another Call-ID and another port in its Contact;
        // what it is, and where in the house, stay.
        let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
        let alike = |known: &&Known| {
            let host = |last: &Last| contact.is_some_and(|one| are_of_one_host(one, &last.contact));
            !agent.is_empty()
                && known.device.agent == agent
                && known.last.as_ref().is_some_and(host)
        };
        let itself = |known: &&Known| {
            known.last.as_ref().is_some_and(|last| {
                instance.as_ref() == Some(&known.device.instance)
                    || last.call_id == call_id
                    || contact == Some(last.contact.as_str())
            })
        };
        let of_here = self.devices.of(extension).filter(here);
        if let Some(known) = of_here.clone().find(itself) {
            return Who::Known(known.device.id);
        }
        if let Some(known) = of_here.clone().find(alike) {
            return Who::Alike(known.device.id);
        }
        let lately = |known: &Known| now.utc.since(known.device.last_seen) < STANDING;
        if of_here.clone().any(lately) { Who::Home } else { Who::Unknown }
    }

    /// An answer of ours to `request`. A header that could not be printed would be our own fault; the
    /// answer then goes without it.
    pub(crate) fn answer(
        &mut self,
        request: &Request,
        status: Status,
        with: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) -> Response {
        let tag = format!("{:016x}", self.chance.u64());
        let plain = || Response::builder(request, status).to_tag(&tag);
        with(plain()).build().or_else(|_| plain().build()).expect(
            "a judged request's own Via, From, To, Call-ID and CSeq make a response that is shorter",
        )
    }

    fn insert(&mut self, account: Account) {
        let extension = &account.extension;
        self.numbers.insert((extension.tenant, extension.number.clone()), extension.id);
        self.accounts.insert(extension.id, account);
    }

    pub(crate) fn of_extension(&self, extension: ExtensionId, fact: Fact) -> Effect {
        let found = self.accounts.get(&extension).map(|account| account.extension.tenant);
        Effect::Fact { tenant: found.unwrap_or(TenantId::HOUSE), fact }
    }

    /// Takes the device's binding away; the extension it belonged to, where there was one. Its row stays: it
    /// says where the phone was, which its calls for help and its standing there depend on after a restart.
    fn unbind(&mut self, id: DeviceId) -> Option<ExtensionId> {
        let known = self.devices.get_mut(&id)?;
        let binding = known.binding.take()?;
        self.expiries.cancel(binding.timer);
        self.leave(id, binding.path);
        self.wall.unbound(binding.path.remote.ip().into());
        self.devices.get(&id).map(|known| known.device.extension)
    }

    /// What is to be written where a registration is taken away before its time. One over UDP would
    /// come back with the next start; of the others nothing could.
    fn cut_short(&mut self, id: DeviceId) -> Option<Effect> {
        let waiting = self.waiting.remove(&id);
        let known = self.devices.get(&id)?;
        let bound = known
            .binding
            .as_ref()
            .map(|binding| binding.row(&known.device, self.node, self.realm_of(binding.path.flow)));
        let mut row = bound.or(waiting).filter(|row| row.transport == Transport::Udp)?;
        row.expires = row.registered;
        Some(Effect::Persist(vec![Row::Binding(Box::new(row))]))
    }

    fn realm_of(&self, flow: FlowId) -> RealmId {
        self.flows.get(&flow).map_or(RealmId(0), |opened| opened.realm)
    }

    fn leave(&mut self, device: DeviceId, path: Path) {
        if let Some(devices) = self.at.get_mut(&path) {
            devices.remove(&device);
            if devices.is_empty() {
                self.at.remove(&path);
            }
        }
    }
}

/// The part of [`Loaded`] that is the registrar's.
#[derive(Debug, Default)]
pub struct Directory {
    pub tenants: Vec<Tenant>,
    pub extensions: Vec<(Extension, Credentials, Option<Credentials>)>,
    pub devices: Vec<Device>,
    pub bindings: Vec<BindingRow>,
    pub bans: Vec<Ban>,
}

impl From<&mut Loaded> for Directory {
    fn from(loaded: &mut Loaded) -> Self {
        Self {
            tenants: std::mem::take(&mut loaded.tenants),
            extensions: std::mem::take(&mut loaded.extensions),
            devices: std::mem::take(&mut loaded.devices),
            bindings: std::mem::take(&mut loaded.bindings),
            bans: std::mem::take(&mut loaded.bans),
        }
    }
}

impl Binding {
    fn row(&self, device: &Device, node: NodeId, realm: RealmId) -> BindingRow {
        BindingRow {
            device: device.id,
            extension: device.extension,
            tenant: device.tenant,
            node,
            contact: self.contact.clone(),
            transport: self.path.flow.transport,
            realm,
            remote: self.path.remote,
            algorithm: self.algorithm,
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            registered: self.registered,
            expires: self.expires,
        }
    }
}

impl Account {
    pub(crate) fn enabled(&self) -> bool {
        self.extension.enabled
    }

    /// The digests before the last rotation, while they are good for emergency.
    pub(crate) fn former(&self, now: Now) -> Option<&Credentials> {
        let (_, until) = self.extension.previous.as_ref()?;
        self.former.as_ref().filter(|_| now.utc < *until)
    }
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            home: Country::US,
            first_contact: &[Algorithm::Sha256, Algorithm::Md5],
            expires_max_connection: Duration::from_secs(90),
            expires_max_datagram: Duration::from_secs(300),
            expires_min: Duration::from_secs(30),
            devices_max: 32,
            bindings_max: 8,
            without_wall: false,
        }
    }
}

impl Transport {
    fn expires_max(self, settings: &RegistrarSettings) -> Duration {
        if self.is_reliable() {
            settings.expires_max_connection
        } else {
            settings.expires_max_datagram
        }
    }
}

/// The instance that a request names.
fn instance_of(request: &Request) -> Option<String> {
    let instance = |contact: sip::NameAddr<'_>| {
        contact.param_unquoted("+sip.instance").map(std::borrow::Cow::into_owned)
    };
    request.headers().contacts().find_map(instance)
}

fn are_of_one_host(one: &str, other: &str) -> bool {
    match (sip::Uri::parse(one), sip::Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.host_str() == other.host_str(),
        _ => false,
    }
}

/// Stands for an extension that doesn't exist, where it must be looked for like one that does.
const NOBODY: ExtensionId = ExtensionId(u128::MAX);
/// Longer than any granted expiry, so that a refresh needs no second round trip.
const NONCE_LIFETIME: Duration = Duration::from_secs(600);
/// Nonces that have served and are watched for replay: one a device, with room.
const NONCES_SERVED_MAX: usize = 16_384;
/// A phone that makes itself new with every request fills one line in ten seconds.
const NEWCOMER_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
