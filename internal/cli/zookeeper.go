// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"

	"vsc-zk/internal/zkclient"
)

// ZookeeperTLS are the options of both programs about TLS between them and ZooKeeper.
type ZookeeperTLS struct {
	On    bool
	Files zkclient.TLS
}

// ZookeeperTLS registers them.
func (g *Group) ZookeeperTLS(z *ZookeeperTLS) {
	g.Bool(&z.On, Opt{Name: "zk-tls", Added: true,
		Help: "Speak TLS with the ZooKeeper servers, whose certificates must be for the hosts named in --servers; give the port of their secureClientPort there."})
	g.String(&z.Files.CA, Opt{Name: "zk-ca", Arg: "FILE", Added: true,
		Help: "Certificates (PEM) of the authorities that sign for the servers.", Note: "default: those that the system trusts"})
	g.String(&z.Files.Cert, Opt{Name: "zk-cert", Arg: "FILE", Added: true,
		Help: "Certificate (PEM) to show to servers that ask for one."})
	g.String(&z.Files.Key, Opt{Name: "zk-key", Arg: "FILE", Added: true,
		Help: "Key (PEM) of that certificate, which only its owner may be able to read.", Note: "default: in the file of --zk-cert"})
}

// Problem says which option does not suit the others.
func (z ZookeeperTLS) Problem() (option string, err error) {
	if z.On {
		if z.Files.Key != "" && z.Files.Cert == "" {
			return "zk-key", errors.New("cannot use --zk-key without the certificate that it belongs to: give --zk-cert")
		}
		return "", nil
	}
	for _, o := range []struct{ name, value string }{{"zk-ca", z.Files.CA}, {"zk-cert", z.Files.Cert}, {"zk-key", z.Files.Key}} {
		if o.value != "" {
			return o.name, fmt.Errorf("cannot use --%s without --zk-tls: nothing would be encrypted", o.name)
		}
	}
	return "", nil
}

// Names are the options that name a file.
func (z *ZookeeperTLS) Names() []*string { return []*string{&z.Files.CA, &z.Files.Cert, &z.Files.Key} }

// Config is for zkclient.
func (z ZookeeperTLS) Config() *zkclient.TLS {
	if !z.On {
		return nil
	}
	return &z.Files
}
