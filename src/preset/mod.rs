//! The place of ready-made heaps; there are none yet. Put one together from parts: [`composing`](crate::guide::composing) has six.
