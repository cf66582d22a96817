//! Many threads on one heap, which pass blocks to each other.

use std::format;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::vec::Vec;

use super::law::Law;
use super::plan::Plan;
use super::run::{Fault, Run};
use super::script::{Draw, Op, Way};
use super::shadow::Block;
use super::subject::Subject;

/// Runs random operations on as many threads as the plan says, each through a subject of its own on the one heap. Every so often a thread
/// sends one of its blocks to the next one, which checks and frees it, or resizes it first.
pub(super) fn run<S: Subject>(subject: impl Fn() -> S + Sync, plan: &Plan) -> Result<(), Fault> {
    let count = plan.threads.max(2);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
    let mut ends: Vec<_> = senders.into_iter().collect();
    // Each sends to the thread behind it.
    ends.rotate_left(1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, (sender, receiver)) in ends.into_iter().zip(receivers).enumerate() {
            let subject = &subject;
            running.push(scope.spawn(move || one(&mut subject(), (number, count), plan, sender, &receiver)));
        }
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault { law: Law::NoUnwinding, text: "a thread of the run unwinds".into() }),
        })
    })
}

fn one(
    subject: &mut dyn Subject,
    (number, count): (usize, usize),
    plan: &Plan,
    sender: Sender<Block>,
    receiver: &Receiver<Block>,
) -> Result<(), Fault> {
    let mut draw = Draw::new(plan.seed ^ (number as u64) << 32, plan.range);
    let mut run = Run::new(subject, None, plan.live_max).together(number as u32, count as u32);
    let ops = plan.scripts.div_ceil(4) * plan.ops;
    let mut work = || {
        for step in 0..ops {
            let (allocs, frees) = if step / 64 % 2 == 0 { (4, 2) } else { (2, 4) };
            run.step(draw.op(allocs, frees, 3))?;
            if step % 5 == 0 {
                if let Some(block) = run.send(draw.below(1 << 16)) {
                    // Nobody receives any more only after a fault, which is reported there.
                    let _ = sender.send(block);
                }
            }
            while let Ok(block) = receiver.try_recv() {
                run.receive(block)?;
                if step % 3 == 0 {
                    run.step(Op::Free { pick: u16::MAX, slack: 255, way: Way::Plain })?;
                }
            }
        }
        Ok(())
    };
    let done = work();
    drop(sender);
    let rest = done.and_then(|()| {
        while let Ok(block) = receiver.recv() {
            run.receive(block)?;
        }
        run.finish()
    });
    rest.map_err(|(law, text)| Fault { law, text: format!("on thread {number} of {count}: {text}") })
}
