//! What a victim does at an end of a pipe, and what the other end and the next holder find.
//!
//! Messages are read from the file too, without a line of the library's code: docs/format.md says where they are.

mod case;
mod trial;

use self::case::OnPipe;
use self::trial::Act;
use super::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::Entry;

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    let case = |name, act, before, campaigns| OnPipe {
        name,
        act,
        before,
        has_sleeper: false,
        is_in_place: false,
        campaigns,
    };
    let in_place = |case: OnPipe| OnPipe {
        is_in_place: true,
        ..case
    };
    let with_sleeper = |case: OnPipe| OnPipe {
        has_sleeper: true,
        ..case
    };
    let all = [
        case("send-into-empty", Act::Send(1), 0, ALL),
        case("send-into-middle", Act::Send(1), 3, KILL_AND_STOP),
        case("send-into-full", Act::Send(1), 7, KILL_AND_STOP),
        case("send-three", Act::Send(3), 1, ALL),
        with_sleeper(case("send-with-sleeper", Act::Send(1), 0, KILL)),
        case("recv-last", Act::Recv(1), 1, ALL),
        case("recv-from-middle", Act::Recv(1), 4, KILL_AND_STOP),
        case("recv-from-empty", Act::Recv(1), 0, KILL),
        case("recv-three", Act::Recv(3), 5, ALL),
        in_place(case("loan-into-empty", Act::Send(1), 0, ALL)),
        in_place(case("loan-behind-one", Act::Send(1), 1, KILL_AND_STOP)),
        in_place(case("loan-into-full", Act::Send(1), 2, KILL_AND_STOP)),
        in_place(with_sleeper(case(
            "loan-with-sleeper",
            Act::Send(1),
            0,
            KILL,
        ))),
        in_place(case("ref-of-last", Act::Recv(1), 1, ALL)),
        in_place(case("ref-of-two", Act::Recv(1), 2, KILL_AND_STOP)),
        in_place(case("ref-from-empty", Act::Recv(1), 0, KILL)),
        case("take-sender", Act::TakeSender, 2, ALL),
        case("take-receiver", Act::TakeReceiver, 2, KILL_AND_STOP),
        case("redeem", Act::Redeem, 2, ALL),
        case("offer", Act::Offer, 2, ALL),
        case("close-sender", Act::CloseSender, 2, ALL),
        with_sleeper(case("close-with-sleeper", Act::CloseSender, 0, KILL)),
        case("close-receiver", Act::CloseReceiver, 2, ALL),
    ];
    all.map(Entry::new).into()
}
