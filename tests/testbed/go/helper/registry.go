package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// registry serves the images of OCI archives over plain HTTP, to pull only.
func registry(arguments []string) error {
	flags := flag.NewFlagSet("registry", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen at")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	store := store{blobs: map[string]blob{}, manifests: map[string]descriptor{}}
	for _, path := range flags.Args() {
		if err := store.add(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	faults := newFaults()
	faults.say(report{Ready: listener.Addr().String()})
	go faults.obey()
	return (&http.Server{Handler: faults.around(store)}).Serve(listener)
}

// store knows where in which archive each blob is.
type store struct {
	blobs map[string]blob
	// manifests has an entry for REPOSITORY:TAG and one for every digest.
	manifests map[string]descriptor
}

type blob struct {
	archive      string
	offset, size int64
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

func (s store) add(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	for entries := tar.NewReader(file); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if header.Name == "index.json" {
			if err := json.NewDecoder(entries).Decode(&index); err != nil {
				return err
			}
		}
		if hex, ok := strings.CutPrefix(header.Name, "blobs/sha256/"); ok {
			offset, err := file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			s.blobs["sha256:"+hex] = blob{path, offset, header.Size}
		}
	}
	for _, manifest := range index.Manifests {
		s.manifests[manifest.Digest] = manifest
		// The registry's own name is whatever it is asked as.
		if _, name, ok := strings.Cut(manifest.Annotations["io.containerd.image.name"], "/"); ok {
			s.manifests[name] = manifest
		}
	}
	return nil
}

func (s store) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	path := strings.TrimPrefix(request.URL.Path, "/v2/")
	if path == "" {
		response.WriteHeader(http.StatusOK)
		return
	}
	if name, reference, ok := strings.Cut(path, "/manifests/"); ok {
		found, known := s.manifests[name+":"+reference]
		if strings.HasPrefix(reference, "sha256:") {
			found, known = s.manifests[reference]
		}
		if !known {
			refuseImage(response, "MANIFEST_UNKNOWN")
			return
		}
		s.send(response, request, found.Digest, found.MediaType)
		return
	}
	if _, digest, ok := strings.Cut(path, "/blobs/"); ok {
		s.send(response, request, digest, "application/octet-stream")
		return
	}
	refuseImage(response, "NAME_UNKNOWN")
}

func (s store) send(response http.ResponseWriter, request *http.Request, digest, mediaType string) {
	found, known := s.blobs[digest]
	if !known {
		refuseImage(response, "BLOB_UNKNOWN")
		return
	}
	file, err := os.Open(found.archive)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	header := response.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", fmt.Sprint(found.size))
	header.Set("Docker-Content-Digest", digest)
	if request.Method == http.MethodHead {
		return
	}
	_, _ = io.Copy(response, io.NewSectionReader(file, found.offset, found.size))
}

func refuseImage(response http.ResponseWriter, code string) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(response).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": "not here"}}})
}
