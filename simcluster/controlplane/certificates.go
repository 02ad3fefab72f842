package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// lifetime of every certificate: a simulated cluster is thrown away long before.
const lifetime = 365 * 24 * time.Hour

// identities are the certificates of one cluster, by file name: who the bearer is to the API server (common name and
// groups, in Kubernetes' own convention) and whether it may also serve on loopback.
var identities = map[string]pkix.Name{
	"admin":                   {CommonName: "simcluster-admin", Organization: []string{"system:masters"}},
	"apiserver":               {CommonName: "kube-apiserver"},
	"etcd":                    {CommonName: "etcd"},
	"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
	"kube-scheduler":          {CommonName: "system:kube-scheduler"},
	"kwok":                    {CommonName: "simcluster-kwok", Organization: []string{"system:masters"}},
	// signs the tokens of ServiceAccounts
	"service-accounts": {CommonName: "simcluster-service-accounts"},
	"stand-ins":        {CommonName: "simcluster-stand-ins", Organization: []string{"system:masters"}},
}

// runCertificates writes an authority, and a certificate and key per identity, into the directory named as the only
// argument. Files are readable by their owner alone.
func runCertificates() int {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: controlplane certificates DIRECTORY")
		return usageError
	}
	if err := writeCertificates(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane certificates: %v\n", err)
		return 1
	}
	return 0
}

func writeCertificates(directory string) error {
	authorityKey, err := newKey()
	if err != nil {
		return err
	}
	authority := template(pkix.Name{CommonName: "simcluster"})
	authority.IsCA = true
	authority.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	authority.ExtKeyUsage = nil
	if err := write(directory, "ca", authority, authority, authorityKey, authorityKey); err != nil {
		return err
	}
	for name, subject := range identities {
		key, err := newKey()
		if err != nil {
			return err
		}
		if err := write(directory, name, template(subject), authority, key, authorityKey); err != nil {
			return err
		}
	}
	return nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func template(subject pkix.Name) *x509.Certificate {
	// 127 bits: positive, and never the same twice
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // the system has no randomness: nothing can be made safely
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		// the second is the address of the Service `kubernetes`
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}
}

func write(directory, name string, certificate, authority *x509.Certificate, key, authorityKey *ecdsa.PrivateKey) error {
	bytes, err := x509.CreateCertificate(rand.Reader, certificate, authority, key.Public(), authorityKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(directory, name+".crt"), "CERTIFICATE", bytes); err != nil {
		return err
	}
	return writeKey(directory, name, key)
}

func writeKey(directory, name string, key *ecdsa.PrivateKey) error {
	bytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(directory, name+".key"), "PRIVATE KEY", bytes)
}

func writePEM(path, kind string, bytes []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
}

func sorted(names []string) []string {
	sort.Strings(names)
	return names
}
