//! The node from outside: real sockets, a scripted origin, a clock that the test moves.
