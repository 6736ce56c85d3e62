//! Changes to trunks and to the numbers at them: prepared, made durable by the caller, then applied.

use guard::access::Actor;
use guard::fact::Fact;
use guard::id::TenantId;
use guard::pii::Pii;
use sip::Uri;

use super::line::Line;
use super::{Effect, INBOUND_MAX, SOURCES_MAX, TRUNKS_MAX, Trunks, Turn, uri_host, uri_of};
use crate::back_to_back::desk::Desk;
use crate::command::{Change, Refusal, TrunkSecret};
use crate::directory::{Inbound, Trunk, TrunkAccess};
use crate::record::Row;
use crate::registrar::Prepared;

impl Trunks {
    /// Judges a change of a trunk or a number against what is there. Nothing takes effect yet. That an
    /// extension exists, and belongs to the tenant, is the caller's to judge. Other changes are
    /// `NotAllowed` here.
    pub(crate) fn prepare(&mut self, actor: &Actor, change: Change) -> Result<Prepared, Refusal> {
        let actor = Pii::new(actor.clone());
        let (tenant, row, fact) = match &change {
            Change::AddTrunk { trunk, secret } => {
                self.judge(trunk, secret.as_ref(), None)?;
                if self.lines.len() + self.pending.len() >= TRUNKS_MAX {
                    return Err(Refusal::TooMany);
                }
                let taken =
                    |id| self.lines.contains_key(id) || self.pending.values().any(|p| p == id);
                if taken(&trunk.id) || self.pending.contains_key(&trunk.name) {
                    return Err(Refusal::InUse);
                }
                self.pending.insert(trunk.name.clone(), trunk.id);
                let Trunk { id, name, host, tenant, .. } = &**trunk;
                let (name, host) = (name.clone(), host.clone());
                let fact = Fact::TrunkAdded { trunk: *id, name, host, actor };
                (*tenant, Row::Trunk(trunk.clone()), fact)
            }
            Change::SetTrunk { trunk, secret } => {
                let line = self.lines.get(&trunk.id).ok_or(Refusal::NotFound)?;
                self.judge(trunk, secret.as_ref(), Some(line))?;
                if self.pending.contains_key(&trunk.name) {
                    return Err(Refusal::InUse);
                }
                // A number stays with who may use its trunk.
                let theirs = |inbound: &&Inbound| {
                    inbound.trunk == trunk.id && !is_open_to(trunk, inbound.tenant)
                };
                if self.inbound.values().any(|inbound| theirs(&inbound)) {
                    return Err(Refusal::InUse);
                }
                let change = differences(&line.trunk, trunk, secret.is_some());
                let name = trunk.name.clone();
                let fact = Fact::TrunkChanged { trunk: trunk.id, name, change, actor };
                (trunk.tenant, Row::Trunk(trunk.clone()), fact)
            }
            Change::RemoveTrunk { trunk } => {
                let known = self.get(*trunk).ok_or(Refusal::NotFound)?;
                if self.inbound.values().any(|inbound| inbound.trunk == *trunk) {
                    return Err(Refusal::InUse);
                }
                let name = known.name.clone();
                let fact = Fact::TrunkRemoved { trunk: *trunk, name, actor };
                (known.tenant, Row::RemoveTrunk(*trunk), fact)
            }
            Change::SetInbound { inbound } => {
                let trunk = self.get(inbound.trunk).ok_or(Refusal::NotFound)?;
                if !is_open_to(trunk, inbound.tenant) || !is_e164(&inbound.number) {
                    return Err(Refusal::NotAllowed);
                }
                match self.inbound.get(&inbound.number) {
                    // Another tenant's number is never moved: it is removed there first.
                    Some(known) if known.tenant != inbound.tenant => {
                        return Err(Refusal::NumberTaken);
                    }
                    Some(_) => {}
                    None if self.inbound.len() >= INBOUND_MAX => return Err(Refusal::TooMany),
                    None => {}
                }
                let fact = Fact::InboundChanged {
                    trunk: inbound.trunk,
                    extension: Some(inbound.extension),
                    number: inbound.number.as_str().into(),
                    actor,
                };
                (Some(inbound.tenant), Row::Inbound(inbound.clone()), fact)
            }
            Change::RemoveInbound { number } => {
                let known = self.inbound.get(number).ok_or(Refusal::NotFound)?;
                let fact = Fact::InboundChanged {
                    trunk: known.trunk,
                    extension: None,
                    number: number.as_str().into(),
                    actor,
                };
                (Some(known.tenant), Row::RemoveInbound(number.clone()), fact)
            }
            Change::AddExtension { .. }
            | Change::RenameExtension { .. }
            | Change::RotateSecret { .. }
            | Change::SecretRevealed { .. }
            | Change::SetEnabled { .. }
            | Change::RemoveExtension { .. }
            | Change::SetExtensionExceptions { .. }
            | Change::SetDeviceExceptions { .. }
            | Change::RemoveDevice { .. }
            | Change::HangUp { .. }
            | Change::SetCallerId { .. }
            | Change::SetPolicy { .. }
            | Change::SetDeck { .. }
            | Change::ResetBudget { .. }
            | Change::Ban(_)
            | Change::Unban { .. } => return Err(Refusal::NotAllowed),
        };
        Ok(Prepared { tenant, rows: vec![row], facts: vec![fact], change })
    }

    /// Gives up a prepared change that could not be written.
    pub(crate) fn abandon(&mut self, change: &Change) {
        if let Change::AddTrunk { trunk, .. } = change {
            self.pending.remove(&trunk.name);
        }
    }

    /// Puts a durable change into effect. What vanished meanwhile stays vanished.
    pub(crate) fn apply(&mut self, desk: &mut Desk<'_>, change: Change, out: &mut Vec<Effect>) {
        match change {
            Change::AddTrunk { trunk, secret } => {
                self.pending.remove(&trunk.name);
                let id = trunk.id;
                let line = Line::new(*trunk, secret.as_ref(), &mut self.engine.chance);
                self.lines.insert(id, line);
                self.note_addresses(id);
                self.with(desk, id, out, Line::begin);
            }
            Change::SetTrunk { trunk, secret } => {
                let id = trunk.id;
                self.with(desk, id, out, |line, turn| line.replace(turn, *trunk, secret.as_ref()));
                self.note_addresses(id);
            }
            Change::RemoveTrunk { trunk } => {
                if let Some(mut line) = self.lines.remove(&trunk) {
                    line.remove(&mut Turn { desk, engine: &mut self.engine, out });
                }
                self.note_addresses(trunk);
            }
            Change::SetInbound { inbound } => {
                self.inbound.insert(inbound.number.clone(), inbound);
            }
            Change::RemoveInbound { number } => {
                self.inbound.remove(&number);
            }
            Change::AddExtension { .. }
            | Change::RenameExtension { .. }
            | Change::RotateSecret { .. }
            | Change::SecretRevealed { .. }
            | Change::SetEnabled { .. }
            | Change::RemoveExtension { .. }
            | Change::SetExtensionExceptions { .. }
            | Change::SetDeviceExceptions { .. }
            | Change::RemoveDevice { .. }
            | Change::HangUp { .. }
            | Change::SetCallerId { .. }
            | Change::SetPolicy { .. }
            | Change::SetDeck { .. }
            | Change::ResetBudget { .. }
            | Change::Ban(_)
            | Change::Unban { .. } => {}
        }
    }

    /// Whether a trunk may be as it is given: bounds, and what goes into our requests.
    fn judge(
        &self,
        trunk: &Trunk,
        secret: Option<&TrunkSecret>,
        known: Option<&Line>,
    ) -> Result<(), Refusal> {
        if trunk.sources.len() > SOURCES_MAX || trunk.codecs.len() > CODECS_MAX {
            return Err(Refusal::TooMany);
        }
        let named = |line: &&Line| line.trunk.name == trunk.name && line.trunk.id != trunk.id;
        if self.lines.values().any(|line| named(&line)) {
            return Err(Refusal::InUse);
        }
        let has_secret = secret.is_some() || known.is_some_and(|line| line.account.is_some());
        let mut texts = vec![trunk.host.as_str(), trunk.name.as_str()];
        if let Some(account) = trunk.account() {
            if !has_secret {
                return Err(Refusal::NotAllowed);
            }
            texts.push(&account.user);
            texts.extend(account.auth_user.as_deref());
            let aor = format!("sip:{}@{}", account.user, uri_host(&trunk.host));
            let plain = !account.user.contains([';', '?', ':', '@', '<', '>']);
            if !plain || !Uri::parse(&aor).is_ok_and(|uri| uri.user() == Some(&account.user)) {
                return Err(Refusal::NotAllowed);
            }
        }
        let sound = texts.iter().all(|text| {
            !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
        });
        let host = uri_host(&trunk.host);
        let named = Uri::parse(&uri_of(trunk))
            .is_ok_and(|uri| uri.host_str().eq_ignore_ascii_case(&host) && uri.user().is_none());
        if sound && named { Ok(()) } else { Err(Refusal::NotAllowed) }
    }
}

fn is_open_to(trunk: &Trunk, tenant: TenantId) -> bool {
    trunk.tenant.is_none_or(|owner| owner == tenant)
}

/// `+`, a digit but 0, at most fifteen digits (E.164 §6.2.1). Short numbers of carriers' own have no `+`.
fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (3..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// What is different, by name: for the journal, where neither account nor number may stand.
fn differences(before: &Trunk, after: &Trunk, secret: bool) -> String {
    let account = |trunk: &Trunk| {
        trunk.account().map(|one| (one.user.clone(), one.auth_user.clone(), one.weakest))
    };
    let registers = |trunk: &Trunk| matches!(trunk.access, TrunkAccess::Registration(_));
    let compared = [
        ("name", before.name != after.name),
        ("owner", before.tenant != after.tenant),
        ("enabled", before.enabled != after.enabled),
        ("realm", before.realm != after.realm),
        ("host", before.host != after.host),
        ("port", before.port != after.port),
        ("transport", before.transport != after.transport),
        ("registration", registers(before) != registers(after)),
        ("account", account(before) != account(after)),
        ("password", secret),
        ("addresses", before.sources != after.sources),
        ("media", before.media != after.media),
        ("identity", before.identity != after.identity),
        ("caller id", before.default_caller_id != after.default_caller_id),
        ("codecs", before.codecs != after.codecs),
        ("channels", before.channels != after.channels),
        ("priority", before.priority != after.priority),
        ("silence limit", before.silence_limit != after.silence_limit),
        ("longest call", before.call_max != after.call_max),
        ("authority", before.authority != after.authority),
    ];
    let changed: Vec<String> = compared
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| match name {
            "enabled" if after.enabled => "enabled".to_owned(),
            "enabled" => "disabled".to_owned(),
            "host" => format!("host {} to {}", before.host, after.host),
            "media" => format!("media {:?} to {:?}", before.media, after.media),
            "channels" => format!("channels {} to {}", before.channels, after.channels),
            name => name.to_owned(),
        })
        .collect();
    if changed.is_empty() { "nothing.".to_owned() } else { format!("{}.", changed.join(", ")) }
}

/// Host names have 253 characters at the most (RFC 1035); names and accounts are shorter.
const TEXT_MAX: usize = 253;
/// Codecs of one trunk. There are a dozen that any carrier takes.
const CODECS_MAX: usize = 16;
