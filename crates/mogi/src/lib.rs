//! The mogi broker process
