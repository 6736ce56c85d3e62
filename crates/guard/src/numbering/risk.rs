//! What a number is, as far as its plan says: the kinds that tariffs follow, and where libphonenumber's
//! type is no tariff.
//!
//! A type tells what a number was meant for, and a thief cares what it costs: pagers, televoting and
//! directory enquiries are dear, whatever they are called. Where two readings are possible, the dearer
//! one stands. Which exchanges of a country pay their owner for being called is *not* public knowledge
//! and changes by the week, so no such list is kept: the gate denies by country and by price.

use rlibphonenumber::PhoneNumberType;

use crate::number::Class;

/// What a number is in its own country.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// At the price of a call to a town, or so the plan says.
    Geographic,
    Mobile,
    TollFree,
    Shared,
    /// One number of a company for a whole country, at a price of its own.
    Uniform,
    Premium,
    Personal,
    Satellite,
    /// No plan says what it is, or it can't be dialled by everybody.
    Nobody,
}

/// Where the called number lies, seen from home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Where {
    Home,
    /// Home and the number share country code 1, but not the country.
    NanpAbroad,
    Abroad,
}

impl Kind {
    /// The kind of an E.164 number (digits without `+`) that its plan says is valid.
    pub(super) fn of(number: &str, plan: PhoneNumberType) -> Self {
        let own = RISKS
            .iter()
            .filter(|(prefix, _)| number.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len());
        if let Some(&(_, kind)) = own {
            return kind;
        }
        let kind = match plan {
            PhoneNumberType::FixedLine
            | PhoneNumberType::VoIP
            // Where a plan doesn't tell the two apart (NANP, Mexico), it doesn't tell their prices apart.
            | PhoneNumberType::FixedLineOrMobile => Self::Geographic,
            // The mailbox of a mobile number costs what the mobile number costs.
            PhoneNumberType::Mobile | PhoneNumberType::VoiceMail => Self::Mobile,
            PhoneNumberType::TollFree => Self::TollFree,
            PhoneNumberType::SharedCost => Self::Shared,
            PhoneNumberType::UAN => Self::Uniform,
            PhoneNumberType::PersonalNumber => Self::Personal,
            // Paging is paid by the caller.
            PhoneNumberType::PremiumRate | PhoneNumberType::Pager => Self::Premium,
            PhoneNumberType::Unknown => Self::Nobody,
        };
        if kind == Self::Geographic && pay_per_call(number) { Self::Premium } else { kind }
    }

    /// What the gate's rules call it. Nothing abroad is ever called by a name of home: free there is not
    /// free here, and shared cost abroad is sold as a special service.
    pub(super) fn class(self, lies: Where) -> Class {
        match (self, lies) {
            (Self::Geographic, Where::Home) => Class::National,
            (Self::Mobile, Where::Home) => Class::Mobile,
            (Self::TollFree, Where::Home) => Class::TollFree,
            (Self::Shared | Self::Uniform, Where::Home) => Class::Shared,
            (Self::Shared, Where::NanpAbroad | Where::Abroad) => Class::Premium,
            (
                Self::Geographic | Self::Mobile | Self::TollFree | Self::Uniform,
                Where::NanpAbroad,
            ) => Class::NanpAbroad,
            (Self::Geographic | Self::Mobile | Self::TollFree | Self::Uniform, Where::Abroad) => {
                Class::International
            }
            (Self::Premium, _) => Class::Premium,
            (Self::Personal, _) => Class::Personal,
            (Self::Satellite, _) => Class::Satellite,
            (Self::Nobody, _) => Class::Unknown,
        }
    }
}

/// In every area of country code 1, exchange 976 is pay-per-call, and 555-1212 is directory assistance,
/// charged by the call. `number` has that country code, or is somebody else's.
fn pay_per_call(number: &str) -> bool {
    number.len() == 11
        && number.starts_with('1')
        && matches!((&number[4..7], &number[7..]), ("976", _) | ("555", "1212"))
}

/// E.164 prefixes whose kind we know better than the library. The longest decides.
const RISKS: &[(&str, Kind)] = &[
    // Canadian non-geographic services: 600 reaches satellite phones in the north at the caller's cost,
    // the others machines and personal numbers (Canadian Numbering Administrator, NPA 600 and 6YY).
    ("1600", Kind::Premium),
    ("1622", Kind::Personal),
    ("1633", Kind::Personal),
    ("1644", Kind::Personal),
    ("1655", Kind::Personal),
    ("1677", Kind::Personal),
    ("1688", Kind::Personal),
    // Each long-distance carrier's own services, and the United States government's.
    ("1700", Kind::Nobody),
    ("1710", Kind::Nobody),
    ("1900", Kind::Premium),
    // Ofcom, National Telephone Numbering Plan, part A.
    ("443", Kind::Geographic),
    ("4455", Kind::Shared),
    ("4456", Kind::Shared),
    ("4470", Kind::Personal),
    ("4476", Kind::Premium),
    // Of the pagers' range, this is the Isle of Man's mobile network.
    ("447624", Kind::Mobile),
    ("4484", Kind::Shared),
    ("4487", Kind::Shared),
    ("449", Kind::Premium),
    // Bundesnetzagentur: innovative services, televoting, online services.
    ("4912", Kind::Premium),
    ("49137", Kind::Premium),
    ("49138", Kind::Premium),
    ("4919", Kind::Premium),
    ("49700", Kind::Personal),
    ("49900", Kind::Premium),
    // ARCEP: 089 is the surcharged range, whatever was assigned from it.
    ("3389", Kind::Premium),
    // OFCOM: 058 is for companies, at the national price.
    ("4158", Kind::Geographic),
    // ACMA: 13 and 1300 at shared cost, 014 satellite, 016 paging, 019 premium.
    ("6113", Kind::Shared),
    ("6114", Kind::Satellite),
    ("6116", Kind::Premium),
    ("6119", Kind::Premium),
    // ITU-T's shared codes, which no country answers for: universal freephone (rarely free here),
    // shared cost, Inmarsat, personal numbers, GMSS (Iridium, Globalstar), international networks
    // (Thuraya is +882 16), disaster relief, international premium rate.
    ("800", Kind::TollFree),
    ("808", Kind::Premium),
    ("870", Kind::Satellite),
    ("878", Kind::Personal),
    ("881", Kind::Satellite),
    ("882", Kind::Satellite),
    ("883", Kind::Satellite),
    ("888", Kind::Satellite),
    ("979", Kind::Premium),
];
