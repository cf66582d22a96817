//! Servers, pipelines and threads that come and go.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::random::Random;
use super::{Left, Work};

/// Each of some threads replaces objects of an array at random, and hands it on to a thread that takes its place: as P. Larson's and M. Krishnan's benchmark
/// (1998) does. What was there before is left.
fn replacing(count: usize, generations: usize, rounds: usize) -> Left {
    fn live(mut objects: Vec<Box<[u8]>>, generations: usize, rounds: usize, seed: u64) -> Vec<Box<[u8]>> {
        let mut random = Random::new(seed);
        for _ in 0..rounds {
            let place = random.below(objects.len());
            objects[place] = vec![seed as u8; random.size(8, 1000)].into();
        }
        if generations == 0 {
            return objects;
        }
        thread::spawn(move || live(objects, generations - 1, rounds, seed + 100)).join().unwrap_or_default()
    }
    let mut random = Random::new(20);
    let left: Vec<Box<[u8]>> = (0..10_000).map(|_| vec![0; random.size(8, 1000)].into()).collect();
    let threads: Vec<_> = (0..count as u64)
        .map(|seed| {
            let objects: Vec<Box<[u8]>> = (0..5000).map(|_| Box::default()).collect();
            thread::spawn(move || live(objects, generations, rounds, seed))
        })
        .collect();
    black_box(
        threads.into_iter().map(|thread| thread.join().map_or(0, |objects| objects.len())).sum::<usize>(),
    );
    let bytes = left.iter().map(|object| object.len()).sum::<usize>() + left.capacity() * 16;
    Some((Box::new(left), bytes))
}

/// Two threads at a time.
pub(super) fn server(amount: usize) -> Work {
    Box::new(move || (0, replacing(2, 15, 100_000 * amount)))
}

/// Sixteen at a time.
pub(super) fn server_16(amount: usize) -> Work {
    Box::new(move || (0, replacing(16, 7, 25_000 * amount)))
}

/// Three stages: one makes messages, one changes them, one reads and drops them.
pub(super) fn pipeline(amount: usize) -> Work {
    struct Message {
        name: String,
        parts: Vec<Box<[u8]>>,
    }
    Box::new(move || {
        let (to_second, from_first) = sync_channel::<Vec<Message>>(64);
        let (to_third, from_second) = sync_channel::<Vec<Message>>(64);
        let first = thread::spawn(move || {
            let mut random = Random::new(21);
            for number in 0..6000 * amount {
                let message = |part: usize| Message {
                    name: format!("message {number}.{part}"),
                    parts: (0..1 + random.below(4)).map(|_| vec![7; random.size(16, 512)].into()).collect(),
                };
                if to_second.send((0..16).map(message).collect()).is_err() {
                    return;
                }
            }
        });
        let second = thread::spawn(move || {
            for mut messages in from_first {
                for message in &mut messages {
                    message.name.push_str(", seen by the second stage");
                    message.parts.pop();
                }
                if to_third.send(messages).is_err() {
                    return;
                }
            }
        });
        let bytes: usize = from_second
            .into_iter()
            .flatten()
            .map(|message| message.name.len() + message.parts.iter().map(|part| part.len()).sum::<usize>())
            .sum();
        let _ = (first.join(), second.join());
        black_box(bytes);
        (0, None)
    })
}

/// Thousands of threads, each of which makes some hundred objects; a few outlive it.
pub(super) fn short_lived(amount: usize) -> Work {
    Box::new(move || {
        let mut kept: Vec<Vec<String>> = Vec::new();
        for round in 0..1500 * amount {
            let work = move |seed: usize| {
                let mut random = Random::new(seed as u64);
                let mut words: Vec<String> = (0..300).map(|_| random.word()).collect();
                words.sort();
                words.truncate(20);
                words
            };
            let other = thread::spawn(move || work(2 * round));
            let one = thread::spawn(move || work(2 * round + 1));
            kept.extend([one, other].map(|thread| thread.join().unwrap_or_default()));
            if kept.len() > 500 {
                kept.drain(..250);
            }
        }
        black_box(kept.len());
        (0, None)
    })
}
