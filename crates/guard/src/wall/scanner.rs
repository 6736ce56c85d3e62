//! Tools that nobody makes a call with, by what they call themselves.
//!
//! Only agents of tools that exist to find or to break into telephone systems. Left out on purpose are
//! names that honest people use too: `sipsak` (monitoring asks with it), `VaxSIPUserAgent` (a toolkit
//! inside sold products), `eyeBeam` and `PBX`, which attackers borrow. An attacker changes its name with one
//! option: this keeps the log short and costs the many who don't care to. What stops the others is that
//! nothing is learnt and nothing is compared.

/// The tool that this agent names, in any case: versions stand behind it.
pub fn scanner(agent: &str) -> Option<&'static str> {
    let agent = agent.trim_start().as_bytes();
    let begins = |name: &&&str| {
        agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    SCANNERS.iter().find(begins).copied()
}

const SCANNERS: [&str; 11] = [
    "friendly-scanner", // sipvicious, as it comes
    "friendly-request", // a later edition of it
    "sipvicious",
    "sundayddr", // a worm that carried sipvicious about
    "sip-scan",
    "sipscan",
    "pplsip",
    "sipcli", // a dialler for the command line, met in toll fraud only
    "iWar",
    "smap",
    "sippts",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_and_phones_are_not() {
        assert_eq!(scanner("friendly-scanner"), Some("friendly-scanner"));
        assert_eq!(scanner("SIPcli/v1.8"), Some("sipcli"));
        assert_eq!(scanner("IWAR"), Some("iWar"));
        let honest =
            ["", "smal", "Yealink SIP-T54W 96.86.0.70", "baresip v3.10", "Linphone/5.2", "PBX"];
        for agent in honest {
            assert_eq!(scanner(agent), None, "{agent}");
        }
    }
}
