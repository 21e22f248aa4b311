// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"vsc-zk/internal/private"
)

// TLS says how to prove who the servers are, and who this client is. The files are PEM.
type TLS struct {
	CA   string // certificates of who may sign for the servers; "": whom the system trusts
	Cert string // shown to the servers that ask for one; "": none
	Key  string // of Cert; "": it is in the same file. Others must not be able to read it
}

// dialer makes connections on which the handshake is over. The server's certificate must be for the host as
// it is given in Config.Servers.
func (t TLS) dialer() (dialFunc, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificates to trust (--zk-ca): %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("cannot use %s (--zk-ca): there is no certificate in PEM form in it", t.CA)
		}
	}
	switch {
	case t.Cert == "" && t.Key != "":
		return nil, errors.New("cannot use --zk-key without the certificate that it belongs to: give --zk-cert")
	case t.Cert != "":
		pair, err := t.pair()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	dialer := &tls.Dialer{Config: cfg}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, explainTLS(err, t)
		}
		return secureConn{conn.(*tls.Conn), t}, nil
	}, nil
}

func (t TLS) pair() (tls.Certificate, error) {
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot read the certificate (--zk-cert): %w", err)
	}
	file := cmp.Or(t.Key, t.Cert)
	key, err := private.ReadSecret(file)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot read the key of the certificate (--zk-key): %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot use the certificate %s (--zk-cert) with the key in %s (--zk-key): %w", t.Cert, file, err)
	}
	return pair, nil
}

// secureConn is closed without a farewell, which could wait for a server that is mute: that of the ZooKeeper
// session has been answered, or nobody listens.
type secureConn struct {
	*tls.Conn
	t TLS
}

func (c secureConn) Close() error { return c.NetConn().Close() }

// Read tells what a server means that ends the handshake afterwards: in TLS 1.3 it looks at the client's
// certificate when the client is done.
func (c secureConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if remote(err) != "" {
		err = explainTLS(err, c.t)
	}
	return n, err
}

// handshakeError says what the user can do about a handshake that has failed.
type handshakeError string

func (e handshakeError) Error() string { return string(e) }

// remote is what the server says that ends the handshake; "": it says nothing.
func remote(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // as crypto/tls calls it
		return op.Err.Error()
	}
	return ""
}

func explainTLS(err error, t TLS) error {
	why := func(format string, args ...any) error { return handshakeError(fmt.Sprintf(format, args...)) }
	var dial *net.OpError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return err
	case errors.As(err, &unknown):
		return why("its certificate is not signed by any in %s (--zk-ca)", cmp.Or(t.CA, "what the system trusts"))
	case errors.As(err, &host):
		return why("its certificate is for another host: %v; write the servers as their certificates do", host)
	case errors.As(err, &invalid):
		return why("its certificate is not valid: %v", invalid)
	case errors.As(err, new(tls.RecordHeaderError)):
		return why("it does not speak TLS: give the port of its secureClientPort, or leave --zk-tls out")
	case remote(err) != "" && t.Cert == "":
		return why("it refuses the handshake (%s): if it wants a certificate, give --zk-cert and --zk-key", remote(err))
	case remote(err) != "":
		return why("it refuses the handshake (%s): is the certificate of --zk-cert signed by an authority that it trusts?", remote(err))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return why("it accepts the connection but does not answer the TLS handshake")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return why("it closes the connection during the TLS handshake: is that the port of its secureClientPort?")
	}
	return err
}
