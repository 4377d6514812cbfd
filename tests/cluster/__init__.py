"""A real one-node Kubernetes for the tests, without Docker: `make cluster` builds and starts it, `make cluster-down` ends it.

etcd, API server, controllers, scheduler, kubelet and proxy are one binary, built from Go modules (kube/), CoreDNS is another
(coredns/); containers are Debian's containerd and runc, on a bridge that leads nowhere outside this machine; Contour and Envoy
are its Gateway. Without root there is the control plane alone, on loopback.
"""
