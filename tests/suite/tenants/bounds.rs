//! What a pod says of itself in annotations: so much and no more.
