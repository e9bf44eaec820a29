//! The whole node: builds the rooms, reloads, drains, stops.
