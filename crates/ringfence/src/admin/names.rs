//! Names and ids of what a policy speaks of: it holds ids, people say names.

use guard::id::{ExtensionId, RoleId, TenantId, TrunkId};
use guard::ledger::Window;
use guard::policy::{Account, Policy, Scope};

use super::protocol::{Failure, Reach, Whose};

/// Of one tenant, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) tenant: TenantId,
    pub(super) extensions: Vec<(ExtensionId, String)>,
    pub(super) trunks: Vec<(TrunkId, String)>,
}

impl Names {
    pub(super) fn extension(&self, number: &str) -> Result<ExtensionId, Failure> {
        let found = self.extensions.iter().find(|(_, known)| known == number);
        found.map(|(id, _)| *id).ok_or_else(|| {
            Failure::new(
                format!("there is no extension {number}"),
                "`ringfence extension list` shows those that exist",
            )
        })
    }

    pub(super) fn trunk(&self, name: &str) -> Result<TrunkId, Failure> {
        let found = self.trunks.iter().find(|(_, known)| known == name);
        found.map(|(id, _)| *id).ok_or_else(|| {
            Failure::new(
                format!("there is no trunk {name}"),
                "`ringfence trunk list` shows those that exist",
            )
        })
    }

    pub(super) fn reach(&self, policy: &Policy, reach: &Reach) -> Result<Scope, Failure> {
        Ok(match reach {
            Reach::Everything => Scope::Operator,
            Reach::Tenant => Scope::Tenant(self.tenant),
            Reach::Role(name) => Scope::Role(role(policy, name)?),
            Reach::Extension(number) => Scope::Extension(self.extension(number)?),
            Reach::Trunk(name) => Scope::Trunk(self.trunk(name)?),
        })
    }

    pub(super) fn whose(&self, policy: &Policy, whose: &Whose) -> Result<Account, Failure> {
        Ok(match whose {
            Whose::Operator => Account::Operator,
            Whose::Tenant => Account::Tenant(self.tenant),
            Whose::Role(name) => Account::Role(role(policy, name)?),
            Whose::EachExtension => Account::EachExtension,
            Whose::Extension(number) => Account::Extension(self.extension(number)?),
        })
    }

    /// `extension 101`; what is gone has no number any more.
    pub(super) fn of_extension(&self, id: ExtensionId) -> String {
        let found = self.extensions.iter().find(|(known, _)| *known == id);
        found.map_or_else(|| "a removed extension".to_owned(), |(_, n)| format!("extension {n}"))
    }

    pub(super) fn of_trunk(&self, id: TrunkId) -> String {
        let found = self.trunks.iter().find(|(known, _)| *known == id);
        found.map_or_else(|| "a removed trunk".to_owned(), |(_, name)| name.clone())
    }

    /// The words that the command line takes for it.
    pub(super) fn of_scope(&self, policy: &Policy, scope: Scope) -> String {
        match scope {
            Scope::Operator => "operator".to_owned(),
            Scope::Tenant(tenant) if tenant == self.tenant => "tenant".to_owned(),
            Scope::Tenant(tenant) => format!("tenant {tenant}"),
            Scope::Role(id) => format!("role {}", of_role(policy, id)),
            Scope::Extension(id) => self.of_extension(id),
            Scope::Trunk(id) => format!("trunk {}", self.of_trunk(id)),
        }
    }

    pub(super) fn of_account(&self, policy: &Policy, account: Account) -> String {
        let scope = match account {
            Account::EachExtension => return "each-extension".to_owned(),
            Account::Operator => Scope::Operator,
            Account::Tenant(id) => Scope::Tenant(id),
            Account::Role(id) => Scope::Role(id),
            Account::Extension(id) => Scope::Extension(id),
        };
        self.of_scope(policy, scope)
    }
}

pub(super) fn role(policy: &Policy, name: &str) -> Result<RoleId, Failure> {
    let found = policy.roles.iter().find(|(_, role)| role.name == name);
    found.map(|(id, _)| *id).ok_or_else(|| {
        Failure::new(
            format!("there is no role {name}"),
            "`ringfence role list` shows those that exist",
        )
    })
}

pub(super) fn of_role(policy: &Policy, id: RoleId) -> String {
    policy.roles.get(&id).map_or_else(|| "(removed)".to_owned(), |role| role.name.clone())
}

pub(super) fn of_window(window: Window) -> &'static str {
    match window {
        Window::Hour => "hour",
        Window::Day => "day",
        Window::Week => "week",
    }
}
