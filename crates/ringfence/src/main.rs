//! The binary.
mod admin;
mod authority;
mod cli;
mod clock;
mod config;
mod data_dir;
mod exchange_thread;
mod flows;
mod media;
mod tls;

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

fn main() {}
