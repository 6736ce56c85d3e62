//! Changes to the directory: prepared, made durable by the caller, then applied.

use guard::access::Actor;
use guard::fact::{Exception, ExtensionChange, Fact};
use guard::id::{DeviceId, ExtensionId, TenantId};
use guard::pii::Pii;

use super::{Account, Effect, Registrar};
use crate::command::{Change, Refusal};
use crate::directory::{Exceptions, Extension};
use crate::record::Row;

/// A change that may be made: what to write first. The facts belong into the same transaction, so
/// that no change exists without its line in the journal.
#[derive(Debug)]
pub struct Prepared {
    /// Whose it is; `None`: the operator's.
    pub tenant: Option<TenantId>,
    pub rows: Vec<Row>,
    pub facts: Vec<Fact>,
    pub change: Change,
}

impl Registrar {
    /// Judges a change against the directory as it is. Nothing takes effect yet.
    pub fn prepare(&mut self, actor: &Actor, change: Change) -> Result<Prepared, Refusal> {
        let tenant = self.tenant_of_change(&change)?;
        let actor = Pii::new(actor.clone());
        let mut facts = Vec::new();
        let rows = match &change {
            Change::AddExtension { extension, .. } => {
                if self.number_is_taken(extension.tenant, &extension.number) {
                    return Err(Refusal::NumberTaken);
                }
                if self.accounts.len() + self.pending.len() >= EXTENSIONS_MAX {
                    return Err(Refusal::TooMany);
                }
                self.pending.insert((extension.tenant, extension.number.clone()));
                let number = extension.number.to_string();
                facts.push(Fact::ExtensionAdded {
                    extension: extension.id,
                    number: number.clone(),
                    name: extension.name.as_str().into(),
                    actor: actor.clone(),
                });
                let generated = Fact::SecretGenerated {
                    extension: extension.id,
                    number: number.clone(),
                    actor: actor.clone(),
                };
                facts.push(generated);
                let (before, after) = (Exceptions::default(), extension.exceptions);
                facts.extend(phones_exception_facts(extension.id, number, before, after, actor));
                vec![Row::Extension(extension.clone())]
            }
            Change::RenameExtension { extension, name } => {
                facts.push(self.changed(*extension, ExtensionChange::Name, actor)?);
                self.rewritten(*extension, |row| row.name.clone_from(name))?
            }
            Change::RotateSecret { extension, secret, previous_until, .. } => {
                let number = self.number(*extension)?;
                facts.push(Fact::SecretRotated { extension: *extension, number, actor });
                self.rewritten(*extension, |row| {
                    let former = std::mem::replace(&mut row.secret, secret.clone());
                    row.previous = Some((former, *previous_until));
                })?
            }
            Change::SecretRevealed { extension } => {
                let number = self.number(*extension)?;
                facts.push(Fact::SecretRevealed { extension: *extension, number, actor });
                Vec::new()
            }
            Change::SetEnabled { extension, enabled } => {
                facts.push(match enabled {
                    true => self.changed(*extension, ExtensionChange::Enabled, actor)?,
                    false => Fact::ExtensionDisabled {
                        extension: *extension,
                        number: self.number(*extension)?,
                        actor,
                    },
                });
                self.rewritten(*extension, |row| row.enabled = *enabled)?
            }
            Change::RemoveExtension { extension } => {
                let number = self.number(*extension)?;
                facts.push(Fact::ExtensionRemoved { extension: *extension, number, actor });
                let devices = self.devices_of(*extension).into_iter();
                let devices =
                    devices.flat_map(|id| [Row::RemoveBinding(id), Row::RemoveDevice(id)]);
                devices.chain([Row::RemoveExtension(*extension)]).collect()
            }
            Change::SetExtensionExceptions { extension, exceptions } => {
                let known = self.extension(*extension).ok_or(Refusal::NotFound)?;
                let (number, before) = (known.number.to_string(), known.exceptions);
                facts.extend(phones_exception_facts(
                    *extension,
                    number,
                    before,
                    *exceptions,
                    actor,
                ));
                self.rewritten(*extension, |row| row.exceptions = *exceptions)?
            }
            Change::SetDeviceExceptions { device, exceptions } => {
                let known = self.device(*device).ok_or(Refusal::NotFound)?;
                facts.extend(exception_facts(*device, known.exceptions, *exceptions, actor));
                let mut row = known.clone();
                row.exceptions = *exceptions;
                vec![Row::Device(Box::new(row))]
            }
            Change::RemoveDevice { device } => {
                self.device(*device).ok_or(Refusal::NotFound)?;
                vec![Row::RemoveBinding(*device), Row::RemoveDevice(*device)]
            }
            Change::SetCallerId { extension, caller_id } => {
                facts.push(self.changed(*extension, ExtensionChange::CallerId, actor)?);
                self.rewritten(*extension, |row| row.caller_id.clone_from(caller_id))?
            }
            Change::HangUp { .. }
            | Change::AddTrunk { .. }
            | Change::SetTrunk { .. }
            | Change::RemoveTrunk { .. }
            | Change::SetInbound { .. }
            | Change::RemoveInbound { .. }
            | Change::SetPolicy { .. }
            | Change::SetDeck { .. }
            | Change::ResetBudget { .. }
            | Change::Ban(_)
            | Change::Unban { .. } => return Err(Refusal::NotAllowed),
        };
        Ok(Prepared { tenant: Some(tenant), rows, facts, change })
    }

    /// Gives up a prepared change that could not be written.
    pub fn abandon(&mut self, change: &Change) {
        if let Change::AddExtension { extension, .. } = change {
            self.pending.remove(&(extension.tenant, extension.number.clone()));
        }
    }

    /// Puts a durable change into effect. Something that vanished meanwhile stays vanished.
    pub fn apply(&mut self, change: Change, out: &mut Vec<Effect>) {
        match change {
            Change::AddExtension { extension, credentials } => {
                self.pending.remove(&(extension.tenant, extension.number.clone()));
                self.insert(Account { extension: *extension, credentials, former: None });
            }
            Change::RenameExtension { extension, name } => {
                self.with(extension, |account| account.extension.name = name);
            }
            Change::RotateSecret { extension, secret, credentials, previous_until } => {
                self.with(extension, |account| {
                    let former = std::mem::replace(&mut account.extension.secret, secret);
                    account.extension.previous = Some((former, previous_until));
                    let former = std::mem::replace(&mut account.credentials, credentials);
                    account.former = Some(former);
                });
                self.renewed(extension);
                self.sign_off_all(extension, out);
            }
            Change::SetEnabled { extension, enabled } => {
                self.with(extension, |account| account.extension.enabled = enabled);
                if !enabled {
                    self.renewed(extension);
                    self.sign_off_all(extension, out);
                }
            }
            Change::RemoveExtension { extension } => {
                self.renewed(extension);
                for device in self.devices_of(extension) {
                    self.dismiss(device, out);
                    self.devices.remove(&device);
                }
                if let Some(account) = self.accounts.remove(&extension) {
                    let Extension { tenant, number, .. } = account.extension;
                    self.numbers.remove(&(tenant, number));
                }
            }
            Change::SetExtensionExceptions { extension, exceptions } => {
                self.with(extension, |account| account.extension.exceptions = exceptions);
            }
            Change::SetDeviceExceptions { device, exceptions } => {
                if let Some(known) = self.devices.get_mut(&device) {
                    known.device.exceptions = exceptions;
                }
            }
            Change::RemoveDevice { device } => {
                self.dismiss(device, out);
                self.devices.remove(&device);
            }
            Change::SetCallerId { extension, caller_id } => {
                self.with(extension, |account| account.extension.caller_id = caller_id);
            }
            Change::SecretRevealed { .. }
            | Change::HangUp { .. }
            | Change::AddTrunk { .. }
            | Change::SetTrunk { .. }
            | Change::RemoveTrunk { .. }
            | Change::SetInbound { .. }
            | Change::RemoveInbound { .. }
            | Change::SetPolicy { .. }
            | Change::SetDeck { .. }
            | Change::ResetBudget { .. }
            | Change::Ban(_)
            | Change::Unban { .. } => {}
        }
    }

    fn tenant_of_change(&self, change: &Change) -> Result<TenantId, Refusal> {
        let extension = match change {
            Change::AddExtension { extension, .. } => return Ok(extension.tenant),
            Change::SetDeviceExceptions { device, .. } | Change::RemoveDevice { device } => {
                return self.device(*device).map(|device| device.tenant).ok_or(Refusal::NotFound);
            }
            Change::HangUp { .. }
            | Change::AddTrunk { .. }
            | Change::SetTrunk { .. }
            | Change::RemoveTrunk { .. }
            | Change::SetInbound { .. }
            | Change::RemoveInbound { .. }
            | Change::SetPolicy { .. }
            | Change::SetDeck { .. }
            | Change::ResetBudget { .. }
            | Change::Ban(_)
            | Change::Unban { .. } => return Err(Refusal::NotAllowed),
            Change::RenameExtension { extension, .. }
            | Change::RotateSecret { extension, .. }
            | Change::SecretRevealed { extension }
            | Change::SetEnabled { extension, .. }
            | Change::RemoveExtension { extension }
            | Change::SetCallerId { extension, .. }
            | Change::SetExtensionExceptions { extension, .. } => *extension,
        };
        self.extension(extension).map(|found| found.tenant).ok_or(Refusal::NotFound)
    }

    fn with(&mut self, extension: ExtensionId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(&extension) {
            change(account);
        }
    }

    fn rewritten(
        &self,
        extension: ExtensionId,
        change: impl FnOnce(&mut Extension),
    ) -> Result<Vec<Row>, Refusal> {
        let mut row = self.extension(extension).ok_or(Refusal::NotFound)?.clone();
        change(&mut row);
        Ok(vec![Row::Extension(Box::new(row))])
    }

    fn changed(
        &self,
        extension: ExtensionId,
        change: ExtensionChange,
        actor: Pii<Actor>,
    ) -> Result<Fact, Refusal> {
        let number = self.number(extension)?;
        Ok(Fact::ExtensionChanged { extension, number, change, actor })
    }

    fn number(&self, extension: ExtensionId) -> Result<String, Refusal> {
        let found = self.extension(extension).ok_or(Refusal::NotFound)?;
        Ok(found.number.to_string())
    }

    fn devices_of(&self, extension: ExtensionId) -> Vec<DeviceId> {
        self.devices.of(extension).map(|known| known.device.id).collect()
    }

    /// What was signed in with its former secret stands for nothing any more.
    fn renewed(&mut self, extension: ExtensionId) {
        if let Some(account) = self.accounts.get(&extension) {
            let Extension { tenant, number, .. } = &account.extension;
            self.wall.renewed(extension, *tenant, number.as_str());
        }
        self.stale.forget(extension);
    }

    fn sign_off_all(&mut self, extension: ExtensionId, out: &mut Vec<Effect>) {
        for device in self.devices_of(extension) {
            self.sign_off(device, out);
        }
    }
}

fn exception_facts(
    device: DeviceId,
    before: Exceptions,
    after: Exceptions,
    actor: Pii<Actor>,
) -> Option<Fact> {
    let exception = Exception::PlainMedia;
    match (before.dangerous_plain_rtp, after.dangerous_plain_rtp) {
        (false, true) => Some(Fact::ExceptionGranted { device, exception, actor }),
        (true, false) => Some(Fact::ExceptionWithdrawn { device, exception, actor }),
        (true, true) | (false, false) => None,
    }
}

fn phones_exception_facts(
    extension: ExtensionId,
    number: String,
    before: Exceptions,
    after: Exceptions,
    actor: Pii<Actor>,
) -> Option<Fact> {
    let exception = Exception::PlainMedia;
    match (before.dangerous_plain_rtp, after.dangerous_plain_rtp) {
        (false, true) => Some(Fact::PhonesExceptionGranted { extension, number, exception, actor }),
        (true, false) => {
            Some(Fact::PhonesExceptionWithdrawn { extension, number, exception, actor })
        }
        (true, true) | (false, false) => None,
    }
}

/// A node serves tens of businesses of hundreds of people; a typing error in a script is not one.
const EXTENSIONS_MAX: usize = 200_000;
