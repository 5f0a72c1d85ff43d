//! Files that `mosquitto_passwd` wrote.

use mogi_auth::password_file::PasswordFile;

#[test]
fn a_file_of_mosquitto_2_1_is_read() {
    let file = PasswordFile::parse(include_bytes!("files/passwords-2.1")).expect("read");
    for (user, password) in [("joe", "plain"), ("ann", "other"), ("old", "x")] {
        let hash = file.get(user).expect(user);
        assert!(hash.verify(password.as_bytes()), "{user}");
        assert!(!hash.verify(b"wrong"), "{user}");
    }
}

#[test]
fn a_file_of_mosquitto_2_0_is_read() {
    let file = PasswordFile::parse(include_bytes!("files/passwords-2.0")).expect("read");
    for (user, password) in [("joe", "plain"), ("ann", "other")] {
        assert!(file.get(user).expect(user).verify(password.as_bytes()), "{user}");
    }
}
