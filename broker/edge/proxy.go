package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

const (
	prefixSize = 16  // of a header, before what its length counts
	maxHeader  = 536 // what a length may say: addresses, and as much of further fields as fits the header's usual bound
)

var errNoHeader = errors.New("a trusted proxy must begin with a PROXY protocol header of version 2")

// readHeader reads a PROXY protocol header of version 2 and not a byte more, and returns the client's address; nil when the
// proxy speaks for itself, as in a health check.
func readHeader(r io.Reader) (net.Addr, error) {
	header := make([]byte, prefixSize, 64)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(header, proxyproto.SIGV2) {
		return nil, errNoHeader
	}
	length := int(binary.BigEndian.Uint16(header[prefixSize-2:]))
	if length > maxHeader {
		return nil, fmt.Errorf("the PROXY protocol header announces %d bytes, at most %d are taken", length, maxHeader)
	}
	header = append(header, make([]byte, length)...)
	if _, err := io.ReadFull(r, header[prefixSize:]); err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return nil, err
	}
	if h.Command.IsLocal() {
		return nil, nil //nolint:nilnil // no client, and no error
	}
	client, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("the PROXY protocol header names no TCP client but %v", h.TransportProtocol)
	}
	return client, nil
}
