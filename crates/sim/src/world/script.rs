//! What happened, in lines for people.

use super::*;

impl World {
    pub fn note(&mut self, text: &str) {
        self.log_line(text.to_owned());
    }

    pub(super) fn note_message(&mut self, from: &str, to: &str, text: &str) {
        let kept_alive = text.ends_with("REGISTER") || text.ends_with("OPTIONS");
        if !self.log_registering && kept_alive {
            return;
        }
        self.log_line(format!("{from} > {to} {text}"));
    }

    pub(super) fn log_line(&mut self, text: String) {
        if self.log.len() >= self.log_max {
            self.log.pop_front();
        }
        self.log.push_back(Line { at: self.instant, text });
    }

    pub(super) fn name(&self, far: Far) -> String {
        match far {
            Far::Phone(at) => self.phones[at].name.clone(),
            Far::Carrier(at) => self.carriers[at].name.clone(),
            Far::Attacker(at) => format!("a{at}"),
            Far::Stranger => STRANGER.to_owned(),
        }
    }

    /// A message in a word or two.
    pub(super) fn summary(&self, bytes: &Bytes) -> String {
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(request)) => {
                let method = request.method();
                let within = request.headers().to().tag().is_some();
                let mut text = match method {
                    Method::Invite if within => "re-INVITE".to_owned(),
                    Method::Invite => {
                        let user = request.uri().user_unescaped().unwrap_or_default();
                        // At a Contact of ours: whom it is meant for stands in To.
                        if user.len() == 32 {
                            let to = request.headers().to();
                            let to = to.uri().user_unescaped().unwrap_or_default().into_owned();
                            format!("INVITE {to} as registered")
                        } else {
                            format!("INVITE {user}")
                        }
                    }
                    _ => method.as_str().to_owned(),
                };
                push_description(&mut text, request.body(), method != Method::Invite);
                text
            }
            Ok(Message::Response(response)) => {
                let method = response.headers().cseq().method;
                let mut text = response.status().code().to_string();
                if method != Method::Invite {
                    text.push_str(&format!(" {}", method.as_str()));
                }
                push_description(&mut text, response.body(), true);
                // What a phone may show its owner.
                let reason = response.headers().reasons().flatten().find_map(|one| one.text);
                if let Some(reason) = reason.filter(|_| response.status() == sip::Status::FORBIDDEN)
                {
                    text.push_str(&format!(": {reason}"));
                }
                // Which rule was broken.
                if response.status() == sip::Status::BAD_REQUEST {
                    let rule = response.reason().strip_prefix("Bad Request");
                    text.push_str(rule.unwrap_or_default());
                }
                text
            }
            Err(_) => "?".to_owned(),
        }
    }
}

/// Says `sdp` where that is worth saying, and every direction but sendrecv.
fn push_description(text: &mut String, body: &Bytes, said: bool) {
    if body.is_empty() {
        if !said {
            text.push_str(" without offer");
        }
        return;
    }
    let directions = ["sendonly", "recvonly", "inactive"];
    let body = String::from_utf8_lossy(body);
    if said && body.starts_with("v=") {
        text.push_str(" sdp");
    }
    for direction in directions {
        if body.contains(&format!("a={direction}")) {
            text.push_str(&format!(" {direction}"));
        }
    }
}
