//! Exposure: the most that could be lost before somebody could act, from what the gate enforces.
//!
//! For each extension: what whoever holds its password could spend until the next working morning, if
//! they spent as fast as every rule allows. For a role, a tenant and the operator: all of it at once.

use pure::{Now, Utc};

use crate::gate::Gate;
use crate::id::ExtensionId;
use crate::ledger::{Ledger, Window};
use crate::money::{Currency, Money};
use crate::policy::Scope;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exposure {
    pub currency: Currency,
    pub from: Utc,
    /// The next working morning.
    pub until: Utc,
    /// Extensions, roles, tenants, and the operator last.
    pub lines: Vec<ExposureLine>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExposureLine {
    pub of: Scope,
    /// New money at most, the tail included.
    pub most: Money,
    /// Of `most`: increments that a carrier may begin after our BYE has left.
    pub tail: Money,
    pub binding: Binding,
}

/// Which limit decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Nothing outside may be dialled.
    NothingAllowed,
    /// The lockdown.
    Lockdown,
    /// A budget.
    Budget { account: Scope, window: Window },
    /// Hours, calls at once, calls an hour and the dearest price allowed.
    Pace,
}

/// Computes it for these extensions.
pub fn exposure(_gate: &Gate, _ledger: &Ledger, now: Now, _extensions: &[ExtensionId]) -> Exposure {
    Exposure { currency: _gate.policy().currency, from: now.utc, until: now.utc, lines: Vec::new() }
}
