//! What a victim does with a broadcast, and what another subscriber and the next publisher find.

mod case;
mod trial;

use self::case::OnBroadcast;
use self::trial::Act;
use super::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::Entry;

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    let case = |name, act, is_lossless, before, campaigns| OnBroadcast {
        name,
        act,
        is_lossless,
        before,
        is_read: false,
        has_sleeper: false,
        campaigns,
    };
    let read = |case: OnBroadcast| OnBroadcast {
        is_read: true,
        ..case
    };
    let with_sleeper = |case: OnBroadcast| OnBroadcast {
        has_sleeper: true,
        ..case
    };
    let mut all = vec![
        case("publish-into-full", Act::Publish('s'), true, "ssss", KILL),
        case(
            "publish-in-a-moment",
            Act::PublishInAMoment,
            true,
            "ssss",
            KILL,
        ),
        case("publish-over-unread", Act::Publish('s'), false, "ssss", ALL),
        case(
            "publish-over-unread-large",
            Act::Publish('l'),
            false,
            "lsss",
            KILL_AND_STOP,
        ),
        case("recv", Act::Recv, true, "s", ALL),
        case("recv", Act::Recv, false, "s", KILL_AND_STOP),
        case("subscribe", Act::Subscribe, true, "ss", ALL),
        case(
            "subscribe-from-oldest",
            Act::SubscribeFromOldest,
            true,
            "sl",
            KILL_AND_STOP,
        ),
        case("subscribe", Act::Subscribe, false, "ss", KILL),
        case("unsubscribe", Act::Unsubscribe, true, "ss", ALL),
        case("close", Act::Close, true, "ss", KILL),
        case("recv-ref", Act::RecvRef, true, "s", ALL),
        case("recv-ref", Act::RecvRef, false, "s", KILL_AND_STOP),
        case(
            "loan-over-unread",
            Act::Publish('w'),
            false,
            "wwss",
            KILL_AND_STOP,
        ),
        case("loan-into-full", Act::Publish('w'), true, "wwss", KILL),
    ];
    for is_lossless in [true, false] {
        all.extend([
            case("publish", Act::Publish('s'), is_lossless, "s", ALL),
            case("publish-large", Act::Publish('l'), is_lossless, "s", ALL),
            read(case(
                "publish-over-large",
                Act::Publish('s'),
                is_lossless,
                "lsss",
                ALL,
            )),
            read(case(
                "publish-large-over-large",
                Act::Publish('l'),
                is_lossless,
                "lsss",
                KILL_AND_STOP,
            )),
            read(case(
                "publish-for-want-of-memory",
                Act::Publish('x'),
                is_lossless,
                "sll",
                ALL,
            )),
            case("loan", Act::Publish('w'), is_lossless, "s", ALL),
            read(case(
                "publish-over-lent",
                Act::Publish('s'),
                is_lossless,
                "wsss",
                ALL,
            )),
            read(case(
                "loan-for-want-of-memory",
                Act::Publish('w'),
                is_lossless,
                "sww",
                ALL,
            )),
            with_sleeper(case(
                "publish-with-sleeper",
                Act::Publish('s'),
                is_lossless,
                "",
                KILL,
            )),
        ]);
    }
    all.into_iter().map(Entry::new).collect()
}
