//! What happens, act by act. Each act plays it over real sockets and notes what its actors saw; what the
//! system itself wrote down is compared with that afterwards, in `claims`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actors::attacker::target::{Ours, Target};
use actors::attacker::{self, Attack, Attacker, AttackerSettings};
use actors::carrier::Carrier;
use actors::phone::{Action, CallId, Ending, Event, PhoneSettings, Security, State, Voice};
use bytes::Bytes;
use guard::ledger::Window;
use guard::money::Money;
use guard::number::{Class, Country};
use sip::{Message, Method, Name};
use zeroize::Zeroizing;

use super::claims::COMPARED_MAX;
use super::driver::{Door, Fleet, Handset, Place, Seat, usual};
use super::say::Teller;
use super::stand::{Caught, Stand};
use crate::admin::protocol::{
    Answer, CallUp, Confidential, Edit, PhoneSettings as Printed, Question, Reach, RoleChange,
    TrunkAccess, TrunkSettings, Whose,
};
use crate::admin::{amount, client};
use crate::clock::{self, Clock};

/// What the story is played with.
pub(super) struct Stage {
    pub(super) data: PathBuf,
    pub(super) clock: Clock,
    /// Where phones connect, from wherever the system chooses.
    pub(super) door: Door,
    pub(super) fleet: Fleet,
    pub(super) carrier: Stand<Caught<Carrier>>,
    /// Where the carrier listens, and the authority that signed for it.
    pub(super) carrier_server: String,
    pub(super) carrier_authority: String,
    pub(super) places: Vec<Place>,
}

/// What the actors saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) talk: Talk,
    /// The status that refused audio in clear.
    pub(super) clear: Option<u16>,
    /// The status that refused the country.
    pub(super) abroad: Option<u16>,
    pub(super) theft: Theft,
    pub(super) sweep: Sweep,
    pub(super) guesses: Guesses,
    pub(super) help: Talk,
    /// Whether scanner and guesser were at it when somebody answered the call for help.
    pub(super) help_amid_attack: bool,
    /// INVITEs that reached the carrier, by the number called.
    pub(super) carrier_called: Vec<String>,
}

/// Two that speak with each other.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) answered: bool,
    /// Authentic packets that each heard of the other.
    pub(super) heard: [u64; 2],
    /// Media keys that each of the two was told or said.
    pub(super) keys: [BTreeSet<String>; 2],
}

#[derive(Debug, Default)]
pub(super) struct Theft {
    pub(super) signed_in: bool,
    /// The most that could be lost, said before.
    pub(super) most: Money,
    /// Of it, what may be counted while calls are being ended.
    pub(super) tail: Money,
    /// What the owner lets be spent.
    pub(super) budget: Money,
    /// What the carrier asks for.
    pub(super) bill: Money,
    /// Calls that were hung up on the thief.
    pub(super) cut: usize,
    /// Calls that were refused after the first was cut.
    pub(super) refused: usize,
}

#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) asked: u32,
    pub(super) gains: u32,
    pub(super) silent: u32,
    /// Kinds of answers, told apart by all that could tell: of extensions that exist, and of others.
    pub(super) existing: BTreeSet<String>,
    pub(super) missing: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Guesses {
    pub(super) tried: usize,
    pub(super) sent: u32,
    pub(super) gains: u32,
    /// Wrong passwords that were compared before the guesser was held, by `ringfence bans`.
    pub(super) compared: Option<usize>,
}

/// Why the story can't go on.
pub(super) type Broken = String;

/// Plays everything.
pub(super) fn play(stage: &mut Stage, say: &mut Teller) -> Result<Seen, Broken> {
    let mut seen = Seen::default();
    let phones = stage.settle_in(say)?;
    let [front, workshop, stolen, old] = phones;
    let (a, b) = (stage.plug_in(&front)?, stage.plug_in(&workshop)?);
    stage.talk(say, &mut seen, a, b)?;
    stage.in_clear(say, &mut seen, &old)?;
    stage.abroad(say, &mut seen, a)?;
    stage.theft(say, &mut seen, &stolen)?;
    stage.siege(say, &mut seen, a, &front)?;
    let engine = stage.carrier.engine();
    seen.carrier_called =
        engine.engine.records().iter().map(|record| record.number.clone()).collect();
    Ok(seen)
}

impl Stage {
    /// A carrier and four extensions.
    fn settle_in(&mut self, say: &mut Teller) -> Result<[Printed; 4], Broken> {
        say.act("An office: four extensions and a carrier");
        let settings = TrunkSettings {
            server: Some(self.carrier_server.clone()),
            access: Some(TrunkAccess::Register),
            user: Some(ACCOUNT.to_owned()),
            secret: Some(Confidential(Zeroizing::new(ACCOUNT_SECRET.to_owned()))),
            authority: Some(self.carrier_authority.clone()),
            caller_id: Some(OUR_NUMBER.to_owned()),
            channels: Some(10),
            ..TrunkSettings::default()
        };
        self.ask(&Question::TrunkAdd { name: "carrier".to_owned(), settings: Box::new(settings) })?;
        let mut phones = Vec::new();
        for (number, name) in OFFICE {
            let added = self.ask(&Question::ExtensionAdd {
                number: number.to_owned(),
                name: name.to_owned(),
                allow_plain_rtp: false,
            })?;
            let Answer::Secret(printed) = added else { return Err(confused()) };
            phones.push(*printed);
        }
        let registered = self.carrier.look(SOON, |carrier| {
            carrier.engine.is_registered(self.clock.now(), ACCOUNT).then_some(())
        });
        if registered.is_none() {
            return Err("the carrier was not reached".to_owned());
        }
        say.event("The line to the carrier is up, over TLS, with SRTP.");
        let names = OFFICE.map(|(number, name)| format!("{number} {name}")).join(", ");
        say.evidence(&format!("{names}. Each password was drawn with 118 bits."));
        phones.try_into().map_err(|_| confused())
    }

    /// Two phones talk, each leg under keys of its own.
    fn talk(
        &mut self,
        say: &mut Teller,
        seen: &mut Seen,
        a: Handset,
        b: Handset,
    ) -> Result<(), Broken> {
        say.act("Two phones talk");
        let up = self.fleet.look(SOON, |seats| {
            [a, b].iter().all(|at| seats[at.0].phone.is_registered()).then_some(())
        });
        if up.is_none() {
            return Err(format!("the phones did not register: {:?}", self.trouble(a)));
        }
        if let Answer::Devices(devices) = self.ask(&Question::Devices)? {
            say.event("101 and 102 have signed in.");
            if let Some(device) = devices.first() {
                let tls = device.tls.clone().unwrap_or_default();
                let digest = device.algorithm.clone().unwrap_or_default();
                say.evidence(&format!("{tls}; the password was proved by digest {digest}."));
            }
        }
        let call = self.call(a, "102");
        let theirs = call.and_then(|_| self.up(b));
        let (Some(call), Some(theirs)) = (call, theirs) else {
            say.event("The call was not answered.");
            return Ok(());
        };
        seen.talk.answered = true;
        say.event("101 calls 102, who answers.");
        seen.talk.heard =
            [self.hears(a, call, Voice(102), SPOKEN), self.hears(b, theirs, Voice(101), SPOKEN)];
        for call in self.calls_up()? {
            say.evidence(&format!("On the way: {}.", call.protection.join(" | ")));
        }
        {
            let seats = self.fleet.seats();
            seen.talk.keys = [keys(&seats[a.0]), keys(&seats[b.0])];
        }
        let [first, second] = seen.talk.heard;
        say.event(&format!(
            "Both hear each other: {first} and {second} packets arrived, decrypted and authentic."
        ));
        let shared = seen.talk.keys[0].intersection(&seen.talk.keys[1]).count();
        say.evidence(&match shared {
            0 => "The two legs have no key in common: nobody who taps one hears the other.".into(),
            some => format!("The two legs have {some} keys in common."),
        });
        self.hang_up(a, call);
        self.idle(a);
        Ok(())
    }

    /// A phone that offers audio in clear.
    fn in_clear(&mut self, say: &mut Teller, seen: &mut Seen, old: &Printed) -> Result<(), Broken> {
        let mut settings = self.settings(old)?;
        settings.security = Security::Plain;
        let phone = self.fleet.plug_in(&self.door, settings);
        self.registered(phone);
        say.event("104 is an old phone that does not encrypt. It calls 102.");
        let (status, sentence) = self.refused(phone, "102");
        seen.clear = status;
        say.evidence(&sentence);
        self.end_all(phone);
        Ok(())
    }

    /// A country that isn't allowed.
    fn abroad(&mut self, say: &mut Teller, seen: &mut Seen, a: Handset) -> Result<(), Broken> {
        say.act("A number abroad");
        self.change(Edit::RoleSet {
            name: "staff".to_owned(),
            change: RoleChange {
                allow: vec![Class::International],
                countries: vec![country(ALLOWED)?],
                longest_seconds: Some(LONGEST),
                price_max: Some("60".to_owned()),
                ..RoleChange::default()
            },
        })?;
        say.event(&format!(
            "The owner allows calls to the United Kingdom, of at most {LONGEST} s each so that this \
             demonstration is short. 101 calls {FORBIDDEN_NUMBER}, in Somalia."
        ));
        let asked = Instant::now();
        let (status, sentence) = self.refused(a, FORBIDDEN_NUMBER);
        seen.abroad = status;
        let took = asked.elapsed().as_millis();
        say.evidence(&format!("{sentence} It took {took} ms, and nothing rang."));
        let why = self.ask(&Question::Explain {
            number: FORBIDDEN_NUMBER.to_owned(),
            from: "101".to_owned(),
        })?;
        if let Answer::Explained(why) = why {
            say.evidence(&format!("Rule {}, policy version {}.", why.rule, why.policy));
        }
        self.end_all(a);
        Ok(())
    }

    /// Somebody has the password of 103.
    fn theft(&mut self, say: &mut Teller, seen: &mut Seen, stolen: &Printed) -> Result<(), Broken> {
        say.act("A stolen password");
        let deck = format!("prefix,rate,connect,first,increment,name\n44,{RATE},0,1,1,Dear\n");
        let import = Question::RatesImport { bytes: deck.len() as u64, dry_run: false };
        client::ask(&self.data, &import, deck.as_bytes()).map_err(in_words).and_then(sound)?;
        // An extension has a budget of its own a day; here it may use up all that there is.
        for (of, window) in [(Whose::Operator, Window::Week), (Whose::EachExtension, Window::Day)] {
            let (soft, hard) = (Some("none".to_owned()), Some(BUDGET.to_owned()));
            self.change(Edit::Budget { of, window, soft, hard })?;
        }
        let Answer::Exposure(exposure) = self.ask(&Question::Exposure)? else {
            return Err(confused());
        };
        let line = exposure.lines.last().ok_or_else(confused)?;
        seen.theft.most = amount::parse(&line.most)?;
        seen.theft.tail = amount::parse(&line.tail)?;
        seen.theft.budget = amount::parse(BUDGET)?;
        say.event(&format!(
            "The owner lets the office spend ${BUDGET} a week outside. The carrier asks $1.00 a second \
             for the number that the thief will call."
        ));
        say.evidence(&format!(
            "THE MOST THAT CAN BE LOST: ${}. Of it, ${} are seconds that a carrier may begin to count \
             while calls are being ended.",
            line.most, line.tail
        ));
        let own = self.place()?;
        let settings = PhoneSettings { agent: "Handset 2.0".to_owned(), ..self.settings(stolen)? };
        let door = Door { from: Some(own), ..self.door.clone() };
        let thief = self.fleet.plug_in(&door, settings);
        seen.theft.signed_in = self.registered(thief);
        say.event("The thief has the right password of 103, and signs in from elsewhere.");
        self.spree(say, &mut seen.theft, thief);
        self.end_all(thief);
        let over = self.carrier.look(SOON, |carrier| {
            carrier.engine.records().iter().all(|record| record.ended.is_some()).then_some(())
        });
        if over.is_none() {
            say.event("The carrier still counts: it was not told of every end.");
        }
        let mut carrier = self.carrier.engine();
        // What it has not ended by now is cut off, and billed until now.
        let records = carrier.engine.records();
        let bill = records.iter().map(|record| record.cost).sum();
        let seconds: u64 = records.iter().map(|record| record.seconds).sum();
        carrier.events.clear();
        drop(carrier);
        seen.theft.bill = Money(bill);
        say.event(&format!(
            "THE CARRIER'S BILL: ${} for {seconds} s.",
            amount::text(seen.theft.bill)
        ));
        Ok(())
    }

    /// As many calls at once as it gets, again and again, until nothing goes any more.
    fn spree(&mut self, say: &mut Teller, theft: &mut Theft, thief: Handset) {
        let end = Instant::now() + SPREE_MAX;
        let mut known = self.fleet.seats()[thief.0].events.len();
        let (mut dialled, mut ended, mut up) = (0, 0, 0_usize);
        let begun = Instant::now();
        for _ in 0..LINES {
            self.dial(thief, DEAR_NUMBER);
            dialled += 1;
        }
        say.event(&format!("The thief calls {DEAR_NUMBER} on {LINES} lines at once."));
        while let Some(event) = self.fleet.look(left(end), |seats| {
            seats[thief.0].events.get(known).map(|(_, event)| event.clone())
        }) {
            known += 1;
            let after = begun.elapsed().as_secs_f64();
            ended += usize::from(matches!(event, Event::Ended { .. }));
            match event {
                Event::Answered { .. } => {
                    up += 1;
                    if up == LINES {
                        let held: Vec<String> = self
                            .calls_up()
                            .unwrap_or_default()
                            .into_iter()
                            .filter_map(|call| call.held)
                            .collect();
                        say.event(&format!("{up} calls are up."));
                        say.evidence(&format!("Set aside for them: {}.", held.join(", ")));
                    }
                }
                Event::Ended { ending: Ending::OtherHungUp, .. } => {
                    theft.cut += 1;
                    say.event(&format!(
                        "A call is ended while it is up, {after:.1} s after the first one began."
                    ));
                    if dialled < ATTEMPTS_MAX {
                        self.dial(thief, DEAR_NUMBER);
                        dialled += 1;
                    }
                }
                Event::Ended { ending: Ending::Refused(status), .. } => {
                    if theft.cut > 0 {
                        theft.refused += 1;
                    }
                    let seats = self.fleet.seats();
                    let why = sentence(&seats[thief.0]).unwrap_or_default();
                    drop(seats);
                    say.event(&format!("A new call is refused ({}). {why}", status.code()));
                }
                _ => {}
            }
            // Every end of a call that was up is followed by another attempt.
            if ended == dialled {
                return;
            }
        }
    }

    /// A scanner and a guesser at work, nothing left to spend, everything locked: somebody needs help.
    fn siege(
        &mut self,
        say: &mut Teller,
        seen: &mut Seen,
        a: Handset,
        front: &Printed,
    ) -> Result<(), Broken> {
        say.act("A scanner, a guesser, and a call for help in the middle of it");
        self.change(Edit::Lockdown { reach: Reach::Everything, on: true })?;
        say.event("The owner has locked everything. The budget is spent.");
        let (scanner, guesser) = (self.attacker()?, self.attacker()?);
        let swept: Vec<String> = (100..140).map(|number| number.to_string()).collect();
        let quiet = AttackerSettings { agent: Some("Handset 1.0".to_owned()), ..pace() };
        let sweeper = self.attacker_with(quiet)?;
        sweeper.act(|caught, now| {
            for method in [Method::Register, Method::Invite] {
                let extensions = swept.clone();
                let attack = Attack::Enumerate { method, extensions };
                caught.engine.handle(now, attacker::Input::Do(attack));
            }
        });
        scanner.act(|caught, now| {
            let attack = Attack::Scan { extensions: vec!["101".to_owned(), "139".to_owned()] };
            caught.engine.handle(now, attacker::Input::Do(attack));
        });
        let mut secrets: Vec<String> = GUESSES.iter().map(|guess| (*guess).to_owned()).collect();
        secrets.insert(LUCKY, front.secret.to_string());
        seen.guesses.tried = secrets.len();
        guesser.act(|caught, now| {
            let attack = Attack::Guess { extension: "101".to_owned(), secrets };
            caught.engine.handle(now, attacker::Input::Do(attack));
        });
        say.event(&format!(
            "A scanner asks for {} extensions in every way it knows; a guesser tries {} passwords for \
             101, and number {} of them is the right one.",
            swept.len(),
            seen.guesses.tried,
            LUCKY + 1
        ));
        self.help(say, seen, a);
        let at_it = |stand: &Stand<Caught<Attacker>>| !stand.engine().engine.is_done();
        seen.help_amid_attack = seen.help.answered && (at_it(&scanner) || at_it(&guesser));
        for stand in [&sweeper, &scanner, &guesser] {
            stand.look(SIEGE_MAX, |caught| caught.engine.is_done().then_some(()));
        }
        self.end_all(a);
        seen.sweep = sweep([&sweeper, &scanner]);
        let tally = |event: &attacker::Event| match event {
            attacker::Event::Finished { tally, .. } => Some((tally.sent, tally.gains)),
            _ => None,
        };
        let guessed: Vec<(u32, u32)> = guesser.engine().events.iter().filter_map(tally).collect();
        seen.guesses.sent = guessed.iter().map(|(sent, _)| sent).sum();
        seen.guesses.gains = guessed.iter().map(|(_, gains)| gains).sum();
        if let Answer::Bans(bans) = self.ask(&Question::Bans)? {
            let held = bans.held.iter().filter(|held| held.account == front.number);
            seen.guesses.compared = held.map(|held| held.compared as usize).max();
        }
        let Sweep { asked, gains, silent, .. } = seen.sweep;
        say.event(&format!(
            "The scanner asked {asked} times. It was left without an answer {silent} times, and learned something \
             {gains} times."
        ));
        say.evidence(match seen.sweep.existing == seen.sweep.missing {
            true => "Extensions that exist and those that don't were answered alike.",
            false => "Extensions that exist can be told from those that don't.",
        });
        say.event(&format!("The guesser got in {} times.", seen.guesses.gains));
        Ok(())
    }

    fn help(&mut self, say: &mut Teller, seen: &mut Seen, a: Handset) {
        say.event("101 dials 911.");
        let Some(call) = self.call(a, "911") else {
            let seats = self.fleet.seats();
            let why = sentence(&seats[a.0]).unwrap_or_default();
            drop(seats);
            return say.event(&format!("NOBODY ANSWERED THE CALL FOR HELP. {why}"));
        };
        seen.help.answered = true;
        let record = {
            let carrier = self.carrier.engine();
            let called = carrier.engine.records().iter().rev();
            called
                .clone()
                .find(|one| one.number == "911")
                .map(|one| (one.call_id.clone(), one.voice))
        };
        let Some((call_id, voice)) = record else { return };
        let there = self.carrier.look(HEARING, |carrier| {
            let heard = carrier.engine.heard(&call_id)?.get(&Voice(101)).copied()?;
            (heard >= SPOKEN).then_some(heard)
        });
        seen.help.heard = [self.hears(a, call, voice, SPOKEN), there.unwrap_or_default()];
        let [here, there] = seen.help.heard;
        say.event(&format!(
            "911 answers, through lockdown and spent budget. Both hear each other: {here} and {there} \
             packets."
        ));
    }

    fn attacker(&mut self) -> Result<Stand<Caught<Attacker>>, Broken> {
        self.attacker_with(pace())
    }

    /// From an address of its own, as an attacker has.
    fn attacker_with(
        &mut self,
        settings: AttackerSettings,
    ) -> Result<Stand<Caught<Attacker>>, Broken> {
        let from = self.place()?;
        let address = Ours::loopback(self.door.address).map_err(|error| error.to_string())?;
        let target = Target::new(address, &self.door.address.ip().to_string());
        let engine = Caught::new(Attacker::new(target, settings, clock::chance()));
        let door = Door { from: Some(from), ..self.door.clone() };
        Ok(Stand::toward(engine, self.clock, door))
    }
}

/// What people do with their phones.
impl Stage {
    fn plug_in(&mut self, printed: &Printed) -> Result<Handset, Broken> {
        let settings = self.settings(printed)?;
        Ok(self.fleet.plug_in(&self.door, settings))
    }

    fn settings(&mut self, printed: &Printed) -> Result<PhoneSettings, Broken> {
        let Printed { number, name, secret, domain, .. } = printed;
        let audio = self.place()?;
        Ok(PhoneSettings {
            display_name: name.clone(),
            answer_after: Some(Duration::from_millis(400)),
            ..usual(number, secret, domain, audio)
        })
    }

    fn place(&mut self) -> Result<IpAddr, Broken> {
        let place = Place::take().map_err(|error| error.to_string())?;
        let address = place.address;
        self.places.push(place);
        Ok(address)
    }

    fn dial(&self, from: Handset, number: &str) {
        self.fleet.act(from, Action::Dial { number: number.to_owned() });
    }

    fn hang_up(&self, at: Handset, call: CallId) {
        self.fleet.act(at, Action::HangUp { call });
    }

    /// Dials, and waits until somebody answers. `None` where nobody does.
    fn call(&self, from: Handset, number: &str) -> Option<CallId> {
        let before = self.fleet.seats()[from.0].events.len();
        self.dial(from, number);
        let over = |seat: &Seat| {
            let mut new = seat.events[before..].iter();
            new.any(|(_, event)| matches!(event, Event::Ended { .. }))
        };
        self.fleet.look(SOON, |seats| match seats[from.0].call_up() {
            Some(call) => Some(Some(call)),
            // Refused: there is nothing to wait for.
            None => over(&seats[from.0]).then_some(None),
        })?
    }

    /// The phone's call, once it is up.
    fn up(&self, at: Handset) -> Option<CallId> {
        self.fleet.look(SOON, |seats| seats[at.0].call_up())
    }

    fn registered(&self, at: Handset) -> bool {
        let up = |seats: &[Seat]| seats[at.0].phone.is_registered().then_some(());
        self.fleet.look(SOON, up).is_some()
    }

    /// Packets of `voice` heard in this call, once there are as many as wanted.
    fn hears(&self, at: Handset, call: CallId, voice: Voice, wanted: u64) -> u64 {
        let count = |seats: &[Seat]| {
            let heard = seats[at.0].phone.heard(call)?;
            heard.get(&voice).copied()
        };
        let enough = self.fleet.look(HEARING, |seats| count(seats).filter(|got| *got >= wanted));
        enough.or_else(|| count(&self.fleet.seats())).unwrap_or_default()
    }

    fn idle(&self, at: Handset) {
        self.fleet.look(SOON, |seats| seats[at.0].phone.calls().next().is_none().then_some(()));
    }

    fn end_all(&self, at: Handset) {
        let calls: Vec<CallId> = self.fleet.seats()[at.0].phone.calls().map(|(id, _)| id).collect();
        for call in calls {
            self.hang_up(at, call);
        }
        self.idle(at);
    }

    /// Dials what is expected to be refused: with which status, and in what words.
    fn refused(&self, from: Handset, number: &str) -> (Option<u16>, String) {
        let before = self.fleet.seats()[from.0].events.len();
        self.dial(from, number);
        let status = self.fleet.look(SOON, |seats| {
            let mut new = seats[from.0].events[before..].iter();
            new.find_map(|(_, event)| match event {
                Event::Ended { ending: Ending::Refused(status), .. } => Some(Some(status.code())),
                Event::Answered { .. } => Some(None),
                _ => None,
            })
        });
        let seats = self.fleet.seats();
        match status.flatten() {
            Some(code) => {
                let words = sentence(&seats[from.0]).unwrap_or_default();
                (Some(code), format!("The phone hears {code}: \"{words}\""))
            }
            None => (None, "IT WAS NOT REFUSED.".to_owned()),
        }
    }

    fn trouble(&self, at: Handset) -> Option<String> {
        self.fleet.seats()[at.0].trouble.clone()
    }
}

/// What the owner does at the command line.
impl Stage {
    fn ask(&self, question: &Question) -> Result<Answer, Broken> {
        client::ask(&self.data, question, &[]).map_err(in_words).and_then(sound)
    }

    fn change(&self, edit: Edit) -> Result<(), Broken> {
        self.ask(&Question::PolicyChange { edit, dry_run: false }).map(drop)
    }

    fn calls_up(&self) -> Result<Vec<CallUp>, Broken> {
        let question = Question::Calls {
            up: true,
            extension: None,
            since: None,
            from: None,
            limit: 100,
            costs: None,
        };
        match self.ask(&question)? {
            Answer::Calls(calls) => Ok(calls.up),
            _ => Err(confused()),
        }
    }
}

impl Seat {
    fn call_up(&self) -> Option<CallId> {
        let mut calls = self.phone.calls();
        calls.find(|(_, state)| **state == State::Up).map(|(call, _)| call)
    }
}

/// All media keys in the descriptions that this phone has said or was told.
fn keys(seat: &Seat) -> BTreeSet<String> {
    let messages = seat.sent.iter().chain(&seat.received);
    let mut keys = BTreeSet::new();
    for message in messages {
        let text = String::from_utf8_lossy(message);
        for line in text.lines().filter(|line| line.starts_with("a=crypto:")) {
            let key = line.split_once("inline:").map(|(_, key)| key);
            let key = key.and_then(|key| key.split(['|', ' ', ';']).next());
            keys.extend(key.map(str::to_owned));
        }
    }
    keys
}

/// What the last refusal that came says to people.
fn sentence(seat: &Seat) -> Option<String> {
    let refusals = seat.received.iter().rev().filter_map(refusal);
    refusals.into_iter().next()
}

fn refusal(bytes: &Bytes) -> Option<String> {
    let Ok(Message::Response(response)) = Message::parse(bytes.clone()) else { return None };
    if response.status().code() < 400 || matches!(response.status().code(), 401 | 407) {
        return None;
    }
    let reason = response.headers().get(Name::Reason)?;
    let (_, text) = reason.split_once("text=\"")?;
    Some(text.trim_end_matches('"').to_owned())
}

/// What the answers to the sweepers tell, taken together.
fn sweep<'a>(stands: impl IntoIterator<Item = &'a Stand<Caught<Attacker>>>) -> Sweep {
    let mut sweep = Sweep::default();
    for stand in stands {
        for event in &stand.engine().events {
            match event {
                attacker::Event::Answered { attack: "enumerate", about, answer, .. } => {
                    let exists = OFFICE.iter().any(|(number, _)| number == about);
                    let kinds = if exists { &mut sweep.existing } else { &mut sweep.missing };
                    kinds.insert(format!("{answer:?}"));
                }
                attacker::Event::Finished { tally, .. } => {
                    sweep.asked += tally.sent;
                    sweep.gains += tally.gains;
                    sweep.silent += tally.silent;
                }
                _ => {}
            }
        }
    }
    sweep
}

fn pace() -> AttackerSettings {
    AttackerSettings {
        transport: sip::Transport::Tls,
        agent: None,
        interval: Duration::from_millis(60),
        messages_max: 400,
        in_flight_max: 2,
        answer_wait: Duration::from_millis(700),
        reconnects_max: 8,
        reconnect_after: Duration::from_millis(300),
    }
}

fn country(code: &str) -> Result<Country, Broken> {
    code.parse().map_err(|_| confused())
}

fn sound(answer: Answer) -> Result<Answer, Broken> {
    match answer {
        Answer::Failed(failure) => Err(failure.wrong),
        answer => Ok(answer),
    }
}

fn in_words(trouble: crate::data_dir::Trouble) -> Broken {
    trouble.to_string()
}

fn confused() -> Broken {
    "the node gave another answer than was asked for".to_owned()
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

pub(super) const OFFICE: [(&str, &str); 4] =
    [("101", "Front desk"), ("102", "Workshop"), ("103", "Warehouse"), ("104", "Old phone")];
/// Our account at the carrier. It exists for as long as the demonstration runs.
pub(super) const ACCOUNT: &str = "4711";
pub(super) const ACCOUNT_SECRET: &str = "of the demonstration only";
/// Reserved for fiction, as are the numbers in the United Kingdom.
const OUR_NUMBER: &str = "+12125550123";
pub(super) const DEAR_NUMBER: &str = "+442079460123";
pub(super) const FORBIDDEN_NUMBER: &str = "+252611234567";
const ALLOWED: &str = "GB";
/// A minute of the dear number: a dollar a second.
pub(super) const RATE: i64 = 60;
/// Two full calls and a half one.
const BUDGET: &str = "36.00";
const LONGEST: u64 = 14;
/// What a role has at first, and the thief takes all.
const LINES: usize = 3;
/// Lines that are dialled anew when one was cut, included.
const ATTEMPTS_MAX: usize = 8;
/// What is up by then, nothing ends any more.
const SPREE_MAX: Duration = Duration::from_secs(20);
/// Guesses as guessers make them.
const GUESSES: [&str; 20] = [
    "101",
    "1234",
    "12345",
    "123456",
    "password",
    "101101",
    "admin",
    "secret",
    "0000",
    "1111",
    "101pass",
    "phone",
    "voip",
    "asterisk",
    "changeme",
    "letmein",
    "welcome",
    "qwerty",
    "frontdesk",
    "a1b2c3",
];
/// Where among them the right password stands: behind all that may be compared.
const LUCKY: usize = COMPARED_MAX;
/// Two seconds of speech.
const SPOKEN: u64 = 100;
const HEARING: Duration = Duration::from_secs(6);
/// Longest wait for what takes no time.
const SOON: Duration = Duration::from_secs(10);
const SIEGE_MAX: Duration = Duration::from_secs(12);
