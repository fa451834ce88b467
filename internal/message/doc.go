// Package message turns what people write into the Data field of an envelope and back: the plaintext layout with its
// padding and signature, encryption with a shared key (AES-256-GCM) or for a public key (ECIES over secp256k1).
//
// Start with SealSymmetric or SealAsymmetric, and OpenSymmetric or OpenAsymmetric. Keys come from NewSymKey,
// PasswordKey, ParsePrivateKey and ParsePublicKey. The format is section 3 of docs/protocol/envelope.md.
//
// It promises: what one function seals the matching one opens; no input makes it panic or allocate more than a small
// multiple of the input's own length; a message that breaks the layout is refused as a whole. It does not tell who
// wrote a message beyond the recovered key: compare Opened.Signer with the key you expect.
//
// Every function takes its randomness as an argument and keeps none, so a forked or cloned process cannot repeat a
// nonce. All keys are immutable and all functions safe for concurrent use.
package message
