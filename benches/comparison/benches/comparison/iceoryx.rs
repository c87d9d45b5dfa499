//! iceoryx2's publish-subscribe: messages are loaned, filled in place, sent, and read in place. Nothing overflows: a publisher waits
//! for room. Sleeping takes its events beside that.

use crate::traffic::{Link, Load, check, fill, retry};
use iceoryx2::prelude::*;
use ipc_benches::crew::Workers::Processes;
use ipc_benches::queue::fresh_name;

type Words = [u64];

fn node() -> Node<ipc::Service> {
    set_log_level(LogLevel::Error);
    NodeBuilder::new()
        .create::<ipc::Service>()
        .expect("make a node")
}

fn service_name(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

type Topic =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Words, ()>;
type Bell = iceoryx2::service::port_factory::event::PortFactory<ipc::Service>;

fn topic(node: &Node<ipc::Service>, name: &str, load: Load) -> Topic {
    node.service_builder(&service_name(name))
        .publish_subscribe::<Words>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(load.capacity)
        .subscriber_max_borrowed_samples(2)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()
        .expect("open the service")
}

fn bell(node: &Node<ipc::Service>, name: &str) -> Bell {
    node.service_builder(&service_name(&format!("{name}-bell")))
        .event()
        .open_or_create()
        .expect("open the events")
}

pub(crate) fn publish_subscribe(load: Load) -> Link {
    let name = format!("ipc-comparison-{}", fresh_name());
    let other = name.clone();
    let put = move || {
        let node = node();
        let publisher = topic(&node, &name, load)
            .publisher_builder()
            .initial_max_slice_len(load.words())
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("make a publisher");
        let bell = load.sleeps.then(|| {
            let events = bell(&node, &name);
            events.notifier_builder().create().expect("make a notifier")
        });
        move |first| {
            let _alive = &node;
            load.batches(first, |number| {
                let loaned = publisher.loan_slice_uninit(load.words());
                let mut loaned = loaned.expect("loan a sample");
                let words = loaned.payload_mut();
                // SAFETY: in a file, whose bytes are never uninitialised; `fill` stores every word.
                fill(unsafe { words.assume_init_mut() }, number);
                // SAFETY: it did.
                let sent = unsafe { loaned.assume_init() }.send();
                assert_eq!(sent.expect("send"), 1, "there is one subscriber");
                if let Some(bell) = &bell {
                    bell.notify().expect("notify");
                }
            })
        }
    };
    let get = move || {
        let node = node();
        let subscriber = topic(&node, &other, load)
            .subscriber_builder()
            .create()
            .expect("make a subscriber");
        let mut bell = load.sleeps.then(|| {
            let events = bell(&node, &other);
            events.listener_builder().create().expect("make a listener")
        });
        move |first| {
            let _alive = &node;
            load.batches(first, |number| {
                let sample = retry(|| {
                    let sample = subscriber.receive().expect("receive");
                    if let (None, Some(bell)) = (&sample, &mut bell) {
                        bell.blocking_wait(|_| {}).expect("wait");
                    }
                    sample
                });
                check(sample.payload(), number);
            })
        }
    };
    Link::new(Processes, put, get)
}
