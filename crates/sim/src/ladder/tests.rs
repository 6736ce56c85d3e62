//! Behaviours of the exchange with real phones.

use super::*;

#[test]
fn a_basic_call() {
    check(
        "
        0ms alice dials 102
        5000ms alice hangs up
        ",
    );
}
