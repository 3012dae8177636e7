"""The servers that `make bench` compares."""

from peers.dovecot import Dovecot
from peers.haproxy import HAProxy
from peers.hitch import Hitch
from peers.nginx import Nginx
from peers.postfix import Postfix
from peers.stunnel import Stunnel
from peers.vestibule import Vestibule

ALL = (Vestibule, Nginx, HAProxy, Hitch, Stunnel, Dovecot, Postfix)
