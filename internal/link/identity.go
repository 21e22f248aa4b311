// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Identity is the key of one process, which never leaves it, and a certificate for it.
type Identity struct {
	certificate tls.Certificate
	fingerprint string
}

// NewIdentity makes a new one.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	// Nobody looks at anything in it but the key.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate: %w", err)
	}
	return &Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint(der)}, nil
}

// Fingerprint is what the other side pins: the SHA-256 of the certificate, in hex.
func (id *Identity) Fingerprint() string { return id.fingerprint }

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

var errStranger = errors.New("the certificate is not that of a member of the session")

// config is for either side: the other's certificate is good if its fingerprint is known.
func (id *Identity) config(known func(fingerprint string) bool) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.certificate},
		ClientAuth:   tls.RequireAnyClientCert,
		// The chain and the name mean nothing; VerifyConnection looks at the certificate itself. TLS
		// proves that the other side has its key.
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 || !known(fingerprint(state.PeerCertificates[0].Raw)) {
				return errStranger
			}
			return nil
		},
	}
}
