//! What a broker worker does when something happens, without sockets, clocks or threads
