// Pins the CPython of the workload's image. Nothing of it is compiled: the module's data files are
// an interpreter that runs with any glibc from 2.17 on (a build of python-build-standalone).
module dra-conformance/python

go 1.26.0

require github.com/kluctl/go-embed-python v0.0.0-3.12.8-20241219-1

require (
	github.com/gofrs/flock v0.12.1 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	golang.org/x/sync v0.10.0 // indirect
	golang.org/x/sys v0.28.0 // indirect
)
