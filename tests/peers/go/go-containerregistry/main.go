// A registry for tests: go-containerregistry's own, with the referrers API, on a port of its choice.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	disk := flag.String("disk", "", "keep blobs in this folder instead of in memory")
	flag.Parse()
	options := []registry.Option{registry.WithReferrersSupport(true)}
	if *disk != "" {
		options = append(options, registry.WithBlobHandler(registry.NewDiskBlobHandler(*disk)))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	log.Fatal(http.Serve(listener, registry.New(options...)))
}
