//! REGISTER (RFC 3261 §10.3): a device says where it is.
//!
//! Narrower than the RFC in one point: a request may bring at most one live Contact, since a binding
//! belongs to the connection it came on. And in another: the answer lists the sender's own binding
//! only; the other phones of an extension are none of its business.

use std::borrow::Cow;
use std::time::Duration;

use guard::fact::Fact;
use guard::id::{DeviceId, ExtensionId, TenantId};
use guard::pii::{Instance, Pii};
use guard::source::Source;
use pure::Now;
use sip::{Name, NameAddr, Request, Response, Scheme, Status};

use super::{Binding, Effect, Known, Last, Registrar};
use crate::authenticate::{Identity, Verdict, journalled};
use crate::directory::{Device, Exceptions};
use crate::flow::Path;
use crate::record::Row;

impl Registrar {
    /// Handles one REGISTER and gives its final answer. Retransmissions are the transaction's.
    pub fn register(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        out: &mut Vec<Effect>,
    ) -> Response {
        let identity = match self.authenticate(now, request, path, false, out) {
            Verdict::Proved(identity) => identity,
            Verdict::Former { challenge, .. } | Verdict::Challenge(challenge) => return challenge,
            Verdict::Refused(refusal) => return refusal,
        };
        match self.bind(now, request, path, &identity, out) {
            Ok(granted) => self.accepted(request, granted),
            Err(refusal) => self.answer(request, refusal.status(), |answer| match refusal {
                Refused::TooBrief(seconds) => answer.header(Name::MinExpires, &seconds.to_string()),
                Refused::Requires(options) => answer.header(Name::Unsupported, &options),
                Refused::OtherAccount => answer.reason("Another Account Than The Credentials"),
                Refused::TooManyContacts => answer.reason("One Live Contact Per REGISTER"),
                Refused::UncallableContact => answer.reason("Contact Can't Be Called"),
                Refused::WildcardStays => answer.reason("Contact * Without Expires 0"),
                Refused::TooManyDevices => answer.reason("Too Many Devices Registered"),
                Refused::TooOften => answer.header(Name::RetryAfter, RETRY_AFTER),
                Refused::OutOfOrder => answer.reason("CSeq Out Of Order"),
            }),
        }
    }

    /// What was granted: the Contact as the phone wrote it and seconds, or `None` after a removal or
    /// a mere query without a binding.
    fn bind(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        identity: &Identity,
        out: &mut Vec<Effect>,
    ) -> Result<Option<(String, u32)>, Refused> {
        let headers = request.headers();
        let options: Vec<_> = headers.elements(Name::Require).collect();
        if !options.is_empty() {
            return Err(Refused::Requires(options.join(", ")));
        }
        let to = headers.to();
        let named = to.uri().user_unescaped().and_then(|user| {
            self.account_named(identity.tenant, &user).map(|(extension, _)| extension)
        });
        // Another account's name and a missing one are refused alike.
        if named != Some(identity.extension) {
            return Err(Refused::OtherAccount);
        }

        if headers.is_star_contact() {
            if headers.expires() != Some(0) {
                return Err(Refused::WildcardStays);
            }
            self.may_change(now, identity, path)?;
            self.remove_all(request, identity.extension, out)?;
            return Ok(None);
        }
        let mut live = None;
        let mut gone = Vec::new();
        for contact in headers.contacts() {
            let asked = contact.expires().or(headers.expires()).unwrap_or(EXPIRES_DEFAULT);
            if asked == 0 {
                gone.push(contact);
            } else if live.replace((contact, asked)).is_some() {
                return Err(Refused::TooManyContacts);
            }
        }
        // A phone that comes back removes its former Contact and brings its new one in one request:
        // that is one device moving, not one leaving and a stranger arriving.
        let staying =
            live.as_ref().and_then(|(contact, _)| self.recognise(request, identity, contact));
        let bound = staying.and_then(|id| self.devices.get(&id)?.binding.as_ref());
        let refreshes = bound.is_some_and(|binding| binding.path == path);
        let asks = live.is_none();
        if !gone.is_empty() || !(refreshes || asks) {
            self.may_change(now, identity, path)?;
        }
        for contact in gone {
            self.remove(request, identity, &contact, staying, out)?;
        }
        let Some((contact, asked)) = live else {
            // A query (RFC 3261 §10.2.3), or a removal: what this sender has, if anything.
            return Ok(self.present(now, identity, path));
        };
        // It becomes the Request-URI of every call to this phone, on its own connection.
        let uri = contact.uri();
        let callable = matches!(uri.scheme(), Scheme::Sip | Scheme::Sips);
        if !callable || uri.as_str().len() > CONTACT_LEN_MAX {
            return Err(Refused::UncallableContact);
        }
        let expires_min = seconds(self.settings.expires_min);
        if asked < expires_min {
            return Err(Refused::TooBrief(expires_min));
        }
        let granted = asked.min(seconds(path.flow.transport.expires_max(&self.settings)));
        let device = self.device_for(now, request, identity, &contact, path, out)?;
        self.place(now, request, path, identity, &contact, device, granted, out)?;
        Ok(Some((contact.uri().as_str().to_owned(), granted)))
    }

    /// Whoever holds a secret could else fill the journal with its coming and going.
    fn may_change(&mut self, now: Now, identity: &Identity, path: Path) -> Result<(), Refused> {
        let key = (identity.extension, Source::from(path.remote.ip()));
        if self.changes.is_full(now.instant, &key) {
            return Err(Refused::TooOften);
        }
        self.changes.count(now.instant, key);
        Ok(())
    }

    /// The device that this Contact belongs to: known by instance, by its Contact, by its Call-ID,
    /// or new.
    fn device_for(
        &mut self,
        now: Now,
        request: &Request,
        identity: &Identity,
        contact: &NameAddr<'_>,
        path: Path,
        out: &mut Vec<Effect>,
    ) -> Result<DeviceId, Refused> {
        let found = self.recognise(request, identity, contact);
        let is_bound = |known: &&Known| known.binding.is_some();
        let of_extension = || self.devices.of(identity.extension);
        let registered_now = found.and_then(|id| self.devices.get(&id)?.binding.as_ref()).is_some();
        let bound = of_extension().filter(is_bound).count();
        if !registered_now && bound >= self.settings.bindings_max {
            return Err(Refused::TooManyDevices);
        }
        if let Some(id) = found {
            return Ok(id);
        }
        if of_extension().count() >= self.settings.devices_max {
            let unseen = of_extension()
                .filter(|known| known.binding.is_none())
                .min_by_key(|known| known.device.last_seen)
                .map(|known| known.device.id);
            if let Some(forgotten) = unseen {
                self.devices.remove(&forgotten);
                let rows = vec![Row::RemoveBinding(forgotten), Row::RemoveDevice(forgotten)];
                out.push(Effect::Persist(rows));
            }
        }
        let device = Device {
            id: DeviceId::draw(&mut self.chance),
            tenant: identity.tenant,
            extension: identity.extension,
            instance: own_name(request, contact),
            agent: agent_of(request),
            mac: None,
            firmware: None,
            algorithm: Some(journalled(identity.algorithm)),
            exceptions: Exceptions::default(),
            first_seen: now.utc,
            last_seen: now.utc,
        };
        let id = device.id;
        if self.newcomers.admit(now.instant, identity.extension).is_some() {
            let fact = Fact::DeviceFirstSeen {
                device: id,
                extension: identity.extension,
                agent: device.agent.clone(),
                instance: Pii::new(Some(Instance(device.instance.clone()))),
                address: path.remote.into(),
            };
            out.push(Effect::Fact { tenant: identity.tenant, fact });
        }
        self.devices.insert(Known { device, last: None, binding: None });
        Ok(id)
    }

    /// The device of this extension that a Contact belongs to. Its instance decides; where that is
    /// new, the same Call-ID or the same Contact as before do.
    fn recognise(
        &self,
        request: &Request,
        identity: &Identity,
        contact: &NameAddr<'_>,
    ) -> Option<DeviceId> {
        let own_name = own_name(request, contact);
        let (call_id, uri) = (request.headers().call_id(), contact.uri().as_str());
        let before = |known: &&Known| {
            known.last.as_ref().is_some_and(|last| last.call_id == call_id || last.contact == uri)
        };
        let of_extension = self.devices.of(identity.extension);
        let named = of_extension.clone().find(|known| known.device.instance == own_name);
        named.or_else(|| of_extension.clone().find(before)).map(|known| known.device.id)
    }

    /// Puts the binding in place, on the path the request came by.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one REGISTER")]
    fn place(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        identity: &Identity,
        contact: &NameAddr<'_>,
        id: DeviceId,
        granted: u32,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let headers = request.headers();
        let expires = Duration::from_secs(granted.into());
        let realm = self.realm_of(path.flow);
        let known = self.devices.get_mut(&id).expect("found or made by the caller");
        if let Some(binding) = &known.binding
            && binding.call_id == headers.call_id()
            && headers.cseq().number <= binding.cseq
        {
            return Err(Refused::OutOfOrder);
        }

        let agent = agent_of(request);
        let algorithm = journalled(identity.algorithm);
        // Another firmware may manage more than the one before, or less.
        let same_agent = known.device.agent == agent;
        let shown = known.device.algorithm.filter(|_| same_agent).max(Some(algorithm));
        let device_is_new_or_changed = known.last.is_none()
            || !same_agent
            || known.device.algorithm != shown
            || now.utc.since(known.device.last_seen) >= SEEN_STEP;
        if device_is_new_or_changed {
            known.device.last_seen = now.utc;
        }
        known.device.agent = agent;
        known.device.algorithm = shown;
        known.last = Some(Last {
            remote: path.remote,
            contact: contact.uri().as_str().to_owned(),
            call_id: headers.call_id().to_owned(),
        });

        let timer = self.expiries.set(now.instant + expires, id);
        let binding = Binding {
            path,
            contact: contact.uri().as_str().to_owned(),
            call_id: headers.call_id().to_owned(),
            cseq: headers.cseq().number,
            algorithm,
            registered: now.utc,
            expires: now.utc + expires,
            timer,
        };
        let row = binding.row(&known.device, self.node, realm);
        self.waiting.remove(&id);
        let mut rows = vec![Row::Binding(Box::new(row))];
        if device_is_new_or_changed {
            rows.insert(0, Row::Device(Box::new(known.device.clone())));
        }
        let former = known.binding.replace(binding);
        self.wall.bound(path.remote.ip().into());
        if let Some(former) = &former {
            self.wall.unbound(former.path.remote.ip().into());
        }
        let moved = former.as_ref().is_none_or(|former| former.path != path);
        out.push(Effect::Persist(rows));
        let fact = match &former {
            None => Fact::Registered {
                device: id,
                extension: identity.extension,
                transport: path.flow.transport.via().to_owned(),
                algorithm: Some(algorithm),
                expires_seconds: granted,
                address: path.remote.into(),
            },
            Some(_) if moved => Fact::FlowReplaced {
                device: id,
                extension: identity.extension,
                address: path.remote.into(),
            },
            Some(_) => Fact::RegistrationRefreshed {
                device: id,
                extension: identity.extension,
                expires_seconds: granted,
            },
        };
        out.push(Effect::Fact { tenant: identity.tenant, fact });
        if let Some(former) = former {
            self.expiries.cancel(former.timer);
            if moved {
                self.leave(id, former.path);
                let abandoned = !self.at.contains_key(&former.path);
                if abandoned
                    && former.path.flow != path.flow
                    && former.path.flow.transport.is_reliable()
                {
                    out.push(Effect::CloseFlow(former.path.flow));
                }
            }
        }
        if moved {
            self.at.entry(path).or_default().insert(id);
            out.push(Effect::Reachable { device: id, path });
        }
        Ok(())
    }

    /// `Contact: *` with `Expires: 0`: every binding of the extension (RFC 3261 §10.3 step 6).
    fn remove_all(
        &mut self,
        request: &Request,
        extension: ExtensionId,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let bound: Vec<DeviceId> = self
            .devices
            .of(extension)
            .filter_map(|known| known.binding.as_ref().map(|binding| (known.device.id, binding)))
            .map(|(id, binding)| in_order(request, binding).map(|()| id))
            .collect::<Result<_, _>>()?;
        for device in bound {
            self.sign_off(device, out);
        }
        Ok(())
    }

    fn remove(
        &mut self,
        request: &Request,
        identity: &Identity,
        contact: &NameAddr<'_>,
        staying: Option<DeviceId>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let instance = contact.param_unquoted("+sip.instance").map(bounded);
        let found = self.devices.of(identity.extension).find_map(|known| {
            let binding = known.binding.as_ref()?;
            let same = binding.contact == contact.uri().as_str()
                || instance.as_ref() == Some(&known.device.instance);
            same.then_some((known.device.id, binding))
        });
        let Some((id, binding)) = found.filter(|(id, _)| Some(*id) != staying) else {
            return Ok(());
        };
        in_order(request, binding)?;
        self.sign_off(id, out);
        Ok(())
    }

    pub(super) fn sign_off(&mut self, device: DeviceId, out: &mut Vec<Effect>) {
        out.extend(self.cut_short(device));
        self.dismiss(device, out);
    }

    /// As [`Self::sign_off`], where its row goes too.
    pub(super) fn dismiss(&mut self, device: DeviceId, out: &mut Vec<Effect>) {
        if let Some(extension) = self.unbind(device) {
            let fact = Fact::RegistrationRemoved { device, extension };
            out.push(self.of_extension(extension, fact));
        }
    }

    fn present(&self, now: Now, identity: &Identity, path: Path) -> Option<(String, u32)> {
        let device = self.device_at(path, identity.extension)?;
        let binding = self.devices.get(&device)?.binding.as_ref()?;
        Some((binding.contact.clone(), seconds(binding.expires.since(now.utc))))
    }

    fn accepted(&mut self, request: &Request, granted: Option<(String, u32)>) -> Response {
        self.answer(request, Status::OK, |answer| match granted {
            Some((contact, expires)) => {
                let contact = format!("<{contact}>;expires={expires}");
                answer.header(Name::Contact, &contact).expires(expires)
            }
            None => answer,
        })
    }

    /// Whether this tenant's numbers hold it; used by the directory's own changes too.
    pub(super) fn number_is_taken(
        &self,
        tenant: TenantId,
        number: &guard::number::ExtensionNumber,
    ) -> bool {
        let key = (tenant, number.clone());
        self.numbers.contains_key(&key) || self.pending.contains(&key)
    }
}

/// Why a proved REGISTER was not carried out.
enum Refused {
    TooBrief(u32),
    Requires(String),
    OtherAccount,
    TooManyContacts,
    UncallableContact,
    /// `Contact: *` that isn't for removal (RFC 3261 §10.3 step 6).
    WildcardStays,
    TooManyDevices,
    /// More changes of who is registered than [`crate::pace::REGISTRATIONS_MAX`] a minute.
    TooOften,
    OutOfOrder,
}

impl Refused {
    fn status(&self) -> Status {
        match self {
            Self::TooBrief(_) => Status::INTERVAL_TOO_BRIEF,
            Self::Requires(_) => Status::BAD_EXTENSION,
            Self::OtherAccount | Self::TooManyDevices => Status::FORBIDDEN,
            Self::TooManyContacts | Self::UncallableContact | Self::WildcardStays => {
                Status::BAD_REQUEST
            }
            Self::TooOften => Status::SERVICE_UNAVAILABLE,
            Self::OutOfOrder => Status::SERVER_INTERNAL_ERROR,
        }
    }
}

/// The rest of the minute, at the most.
const RETRY_AFTER: &str = "60";

/// RFC 3261 §10.3 step 6: a binding isn't removed by an older request of the same registration.
fn in_order(request: &Request, binding: &Binding) -> Result<(), Refused> {
    let headers = request.headers();
    let stale = binding.call_id == headers.call_id() && headers.cseq().number <= binding.cseq;
    if stale { Err(Refused::OutOfOrder) } else { Ok(()) }
}

fn agent_of(request: &Request) -> String {
    let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
    agent.chars().filter(|c| !c.is_control()).take(AGENT_LEN_MAX).collect()
}

/// What a device calls itself: its instance, or its Call-ID where it has none.
fn own_name(request: &Request, contact: &NameAddr<'_>) -> String {
    let instance = contact.param_unquoted("+sip.instance");
    bounded(instance.unwrap_or(Cow::Borrowed(request.headers().call_id())))
}

fn bounded(name: Cow<'_, str>) -> String {
    name.chars().take(INSTANCE_LEN_MAX).collect()
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

/// RFC 3261 §10.2: what a phone means that names no expiry.
const EXPIRES_DEFAULT: u32 = 3_600;
/// A phone's own address with parameters has some hundred bytes.
const CONTACT_LEN_MAX: usize = 512;
/// Shown in lists; longer ones are advertising.
const AGENT_LEN_MAX: usize = 120;
/// A URN with a UUID has 45 characters; a Call-ID is cut here and stays unique enough.
const INSTANCE_LEN_MAX: usize = 160;
/// How exactly `last_seen` is stored: finer would be a row for every refresh of every phone.
const SEEN_STEP: Duration = Duration::from_secs(3_600);
