//! A budget was nearly spent, or is spent.
//!
//! *The model.* The ledger says both by itself: this only puts them into words. *Misses* nothing that has
//! a budget, and everything below its soft bound.

use super::{At, Finding};
use crate::fact::{Fact, Severity};
use crate::id::ExtensionId;
use crate::incident::{Key, What};
use crate::ledger::Window;
use crate::money::{Currency, Money};

#[derive(Debug)]
pub(super) struct Budgets(Currency);

impl Budgets {
    pub(super) fn new(currency: Currency) -> Self {
        Self(currency)
    }

    pub(super) fn observe(&mut self, at: At, fact: &Fact) -> Option<Finding> {
        let shown = |money: Money| money.display(self.0).to_string();
        let (whose, severity, words) = match fact {
            Fact::BudgetSoft { account, window, spent, limit, extension } => {
                let words = format!(
                    "{account} has spent {} within {}; its warning mark is {}.",
                    shown(*spent),
                    of(*window),
                    shown(*limit)
                );
                ((account, *extension), Severity::Warn, words)
            }
            Fact::BudgetHard { account, window, limit, extension } => {
                let words = format!(
                    "{account} has spent all it may within {}: {}.",
                    of(*window),
                    shown(*limit)
                );
                ((account, *extension), Severity::Error, words)
            }
            _ => return None,
        };
        let (account, extension): (&String, Option<ExtensionId>) = whose;
        let key = extension.map_or_else(|| Key::Budget(account.clone()), Key::Extension);
        let finding = Finding::new(at, key, What::Budget, severity, words);
        Some(Finding { extension, ..finding })
    }
}

fn of(window: Window) -> &'static str {
    match window {
        Window::Hour => "this hour",
        Window::Day => "this day",
        Window::Week => "this week",
    }
}
