//! Policy: an immutable, versioned value. A change is a new value with the next version, so a
//! decision that names its version can be explained for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gate::PolicyVersion;
use crate::id::{ExtensionId, RoleId, TenantId, TrunkId};
use crate::number::Country;

/// What the gate of one tenant goes by. Shared as `Arc<Policy>`; never changed in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub version: PolicyVersion,
    /// Decides which numbers call for help.
    pub home: Country,
    pub lockdown: Lockdown,
    /// How long after its last registration a device is still guaranteed its call for help.
    #[serde(rename = "emergency_guarantee_seconds", with = "seconds")]
    pub emergency_guarantee: Duration,
    /// Whether somebody who never registered may call for help: off unless the owner opens it.
    pub emergency_for_strangers: bool,
    /// The role of each extension that has one.
    pub roles: BTreeMap<ExtensionId, RoleId>,
}

/// Where nothing but emergency passes. An empty one is no lockdown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lockdown(BTreeSet<Scope>);

/// How far a lockdown reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every tenant of the machine.
    Operator,
    Tenant(TenantId),
    Role(RoleId),
    /// Legs for which this extension is responsible. Calls to it still ring: whoever looks into a
    /// theft must be able to reach its victim.
    Extension(ExtensionId),
    /// Legs for which this trunk is responsible.
    Trunk(TrunkId),
}

impl Policy {
    /// Long enough for holidays and a phone in a drawer; short enough that a forgotten address
    /// isn't trusted for ever.
    pub const EMERGENCY_GUARANTEE: Duration = Duration::from_secs(30 * 86_400);

    /// The first version: nothing locked, nobody in a role.
    pub fn first(home: Country) -> Arc<Self> {
        Arc::new(Self {
            version: PolicyVersion(1),
            home,
            lockdown: Lockdown::default(),
            emergency_guarantee: Self::EMERGENCY_GUARANTEE,
            emergency_for_strangers: false,
            roles: BTreeMap::new(),
        })
    }

    /// The next version, changed by `change`; the present one stays as it is.
    pub fn next(&self, change: impl FnOnce(&mut Self)) -> Arc<Self> {
        let mut next = self.clone();
        change(&mut next);
        next.version = PolicyVersion(self.version.0.saturating_add(1));
        Arc::new(next)
    }
}

impl Lockdown {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().collect())
    }

    pub fn add(&mut self, scope: Scope) {
        self.0.insert(scope);
    }

    pub fn lift(&mut self, scope: Scope) {
        self.0.remove(&scope);
    }

    pub fn covers(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

mod seconds {
    //! A [`Duration`] as whole seconds.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(span.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_new_version_and_leaves_the_old_one() {
        let first = Policy::first(Country::US);
        let second = first.next(|policy| policy.lockdown.add(Scope::Operator));
        assert_eq!((first.version, second.version), (PolicyVersion(1), PolicyVersion(2)));
        assert!(first.lockdown.is_empty() && second.lockdown.covers(Scope::Operator));
        let third = second.next(|policy| policy.lockdown.lift(Scope::Operator));
        assert!(third.lockdown.is_empty());
        // Nobody dates a policy back, not even in its own change.
        let fourth = third.next(|policy| policy.version = PolicyVersion(1));
        assert_eq!(fourth.version, PolicyVersion(4));
    }

    #[test]
    fn a_policy_reads_in_json_as_it_was_written() {
        let policy = Policy::first(Country::US).next(|policy| {
            policy.lockdown = Lockdown::new([Scope::Operator, Scope::Role(RoleId(2))]);
            policy.roles.insert(ExtensionId(0xa), RoleId(2));
        });
        let text = serde_json::to_string(&*policy).expect("a struct");
        let expected = r#"{"version":2,"home":"US","lockdown":["operator",{"role":2}],"#;
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains(r#""emergency_guarantee_seconds":2592000"#), "{text}");
        assert_eq!(serde_json::from_str::<Policy>(&text).expect("as written"), *policy);
    }
}
