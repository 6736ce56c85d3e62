//! What administrators see of the directory.

use guard::gate::Algorithm;
use guard::id::TenantId;

use super::{Account, Known, Registrar};
use crate::command::{DeviceView, ExtensionView, Registered, Which};

impl Registrar {
    pub fn device_views(&self) -> Vec<DeviceView> {
        self.devices.values().filter_map(|known| self.device_view(known)).collect()
    }

    pub fn extension_views(&self, tenant: TenantId, which: &Which) -> Vec<ExtensionView> {
        let view = |account: &Account| ExtensionView {
            extension: account.extension.clone(),
            devices: self
                .devices
                .of(account.extension.id)
                .filter_map(|known| self.device_view(known))
                .collect(),
        };
        match which {
            Which::All => {
                let of_tenant = self.numbers.iter().filter(|((owner, _), _)| *owner == tenant);
                of_tenant.filter_map(|(_, id)| self.accounts.get(id)).map(view).collect()
            }
            Which::Numbered(number) => {
                let one = self.account_named(tenant, number);
                one.into_iter().map(|(_, account)| view(account)).collect()
            }
            Which::Ids(ids) => {
                let known = ids.iter().filter_map(|id| self.accounts.get(id));
                known.filter(|account| account.extension.tenant == tenant).map(view).collect()
            }
        }
    }

    pub fn extension_ids(&self) -> Vec<guard::id::ExtensionId> {
        self.accounts.keys().copied().collect()
    }

    pub fn extension_count(&self) -> usize {
        self.accounts.len()
    }

    fn device_view(&self, known: &Known) -> Option<DeviceView> {
        let account = self.accounts.get(&known.device.extension)?;
        let registered = known.binding.as_ref().and_then(|binding| {
            let flow = self.flows.get(&binding.path.flow)?;
            let uri = sip::Uri::parse(&binding.contact).ok()?;
            let believed = uri.host().and_then(|host| match host {
                sip::Host::V4(address) => Some(std::net::IpAddr::from(address)),
                sip::Host::V6(address) => Some(address.into()),
                sip::Host::Name(_) => None,
            });
            let believed = believed.map(|ip| (ip, uri.port().unwrap_or_default()).into());
            Some(Registered {
                path: binding.path,
                tls: flow.tls.clone(),
                algorithm: binding.algorithm,
                since: binding.registered,
                expires: binding.expires,
                behind_nat: believed
                    .filter(|at: &std::net::SocketAddr| at.ip() != binding.path.remote.ip()),
            })
        });
        let exceptions = account.extension.exceptions.or(known.device.exceptions);
        let mut weaknesses = exceptions.weaknesses();
        if let Some(registered) = &registered {
            if !registered.path.flow.transport.is_encrypted() {
                weaknesses.push("signalling is not encrypted");
            }
            if registered.algorithm == Algorithm::Md5 {
                weaknesses.push("digest uses MD5");
            }
        }
        Some(DeviceView {
            device: known.device.clone(),
            number: account.extension.number.clone(),
            registered,
            weaknesses,
        })
    }
}
