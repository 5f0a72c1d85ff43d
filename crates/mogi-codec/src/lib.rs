//! The wire format of MQTT 3.1, 3.1.1 and 5.0: bytes to borrowed packets and back
