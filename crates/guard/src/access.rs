//! Who may see, change and reveal what: administrators' roles as one typed matrix.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pii::{Erasable, Personal};

/// Who did something, as the journal names them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// Came over the local admin socket; the kernel vouched for the user id.
    LocalAdmin { uid: u32, name: String },
    /// The system itself.
    System,
    /// Was known once; the key to the name was destroyed.
    Erased,
}

/// A set of permissions that administrators share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRole {
    /// Everything, secrets included: the owner of the machine.
    Owner,
    /// Everything but looking at secrets and personal data of calls.
    Operator,
    /// Sees, changes nothing.
    Auditor,
}

/// What an administrator may be allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    SeeStatus,
    SeeExtensions,
    ChangeExtensions,
    RevealSecret,
    RotateSecret,
    SeeDevices,
    GrantException,
    SeeCalls,
    /// Numbers and addresses in clear, ladders included.
    RevealPersonal,
    SeeJournal,
    VerifyJournal,
    ErasePersonal,
    ChangeLockdown,
    StopNode,
    /// Costs, budgets, rates, exposure.
    SeeMoney,
    /// Roles, budgets, hours, and the rate deck.
    ChangePolicy,
    ChangeTrunks,
    /// Forget what an account has spent.
    ResetBudget,
    /// Shut addresses out, and let them in again.
    ChangeBans,
}

impl Actor {
    /// The role that comes with the door the actor came through. Whoever may open the local socket
    /// may read the data folder and its key, so less than `Owner` would be theatre.
    pub fn role(&self) -> AdminRole {
        match self {
            Self::LocalAdmin { .. } | Self::System => AdminRole::Owner,
            // Nobody acts under an erased name; the least is granted.
            Self::Erased => AdminRole::Auditor,
        }
    }

    pub fn may(&self, permission: Permission) -> bool {
        self.role().may(permission)
    }
}

impl AdminRole {
    pub const ALL: [Self; 3] = [Self::Owner, Self::Operator, Self::Auditor];

    pub fn may(self, permission: Permission) -> bool {
        use AdminRole::{Auditor, Operator, Owner};
        use Permission as P;
        match permission {
            P::SeeStatus | P::SeeExtensions | P::SeeDevices | P::SeeCalls | P::SeeMoney => {
                matches!(self, Owner | Operator | Auditor)
            }
            P::SeeJournal | P::VerifyJournal => matches!(self, Owner | Operator | Auditor),
            P::ChangeExtensions | P::RotateSecret | P::ChangeLockdown => {
                matches!(self, Owner | Operator)
            }
            P::StopNode | P::ChangePolicy | P::ChangeTrunks | P::ResetBudget | P::ChangeBans => {
                matches!(self, Owner | Operator)
            }
            P::RevealPersonal => matches!(self, Owner | Auditor),
            P::RevealSecret | P::GrantException | P::ErasePersonal => matches!(self, Owner),
        }
    }
}

impl Permission {
    pub const ALL: [Self; 19] = [
        Self::SeeStatus,
        Self::SeeExtensions,
        Self::ChangeExtensions,
        Self::RevealSecret,
        Self::RotateSecret,
        Self::SeeDevices,
        Self::GrantException,
        Self::SeeCalls,
        Self::RevealPersonal,
        Self::SeeJournal,
        Self::VerifyJournal,
        Self::ErasePersonal,
        Self::ChangeLockdown,
        Self::StopNode,
        Self::SeeMoney,
        Self::ChangePolicy,
        Self::ChangeTrunks,
        Self::ResetBudget,
        Self::ChangeBans,
    ];
}

impl Personal for Actor {
    fn mask(&self) -> String {
        match self {
            Self::LocalAdmin { uid, .. } => format!("a local administrator (user {uid})"),
            Self::System => "the system".to_owned(),
            Self::Erased => "[erased]".to_owned(),
        }
    }
}

impl Erasable for Actor {
    fn erased() -> Self {
        Self::Erased
    }
}

/// Masked: a derived Debug of whatever holds it ends in a log.
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mask())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalAdmin { uid, name } => write!(f, "{name} (user {uid})"),
            Self::System => f.write_str("the system"),
            Self::Erased => f.write_str("[erased]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_reads_so() {
        let mut table = format!("{:<18}", "");
        for role in AdminRole::ALL {
            table += &format!("{:<10}", format!("{role:?}"));
        }
        for permission in Permission::ALL {
            table = format!("{}\n{:<18}", table.trim_end(), format!("{permission:?}"));
            for role in AdminRole::ALL {
                table += &format!("{:<10}", if role.may(permission) { "yes" } else { "-" });
            }
        }
        let expected = "                  Owner     Operator  Auditor
SeeStatus         yes       yes       yes
SeeExtensions     yes       yes       yes
ChangeExtensions  yes       yes       -
RevealSecret      yes       -         -
RotateSecret      yes       yes       -
SeeDevices        yes       yes       yes
GrantException    yes       -         -
SeeCalls          yes       yes       yes
RevealPersonal    yes       -         yes
SeeJournal        yes       yes       yes
VerifyJournal     yes       yes       yes
ErasePersonal     yes       -         -
ChangeLockdown    yes       yes       -
StopNode          yes       yes       -
SeeMoney          yes       yes       yes
ChangePolicy      yes       yes       -
ChangeTrunks      yes       yes       -
ResetBudget       yes       yes       -
ChangeBans        yes       yes       -";
        assert_eq!(table.trim_end(), expected, "\n{table}");
    }

    #[test]
    fn the_local_door_is_the_owners() {
        let admin = Actor::LocalAdmin { uid: 1_000, name: "grace".to_owned() };
        assert!(Permission::ALL.into_iter().all(|permission| admin.may(permission)));
        assert!(!Actor::Erased.may(Permission::RevealSecret));
        assert_eq!(format!("{admin:?}"), "a local administrator (user 1000)");
        assert_eq!(admin.to_string(), "grace (user 1000)");
    }
}
