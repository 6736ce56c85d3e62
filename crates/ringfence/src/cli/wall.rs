//! Who is shut out, and shutting out by hand.

use clap::Args;

use super::{Asked, Json, parse_span};
use crate::admin::protocol::Question;

#[derive(Debug, Args)]
pub(crate) struct BanAsk {
    /// The address; of IPv6 its network of 64 bits is meant
    source: String,
    /// For how long: 30m, 2h, 7d; at the most 30d
    #[arg(long = "for", value_name = "SPAN", default_value = "1h", value_parser = parse_span)]
    span: i64,
    /// Why, for the journal and for whoever wonders
    #[arg(long)]
    why: String,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct UnbanAsk {
    /// The address, as `ringfence bans` shows it
    source: String,
    /// Only let it try this account again
    #[arg(long, value_name = "NUMBER")]
    account: Option<String>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn ban(BanAsk { source, span, why, json }: BanAsk) -> Asked {
    let seconds = span.unsigned_abs();
    Asked::new(Question::Ban { source, seconds, why }, json)
}

pub(super) fn unban(UnbanAsk { source, account, json }: UnbanAsk) -> Asked {
    Asked::new(Question::Unban { source, account }, json)
}
