"""nginx as a mail proxy, and as the small HTTP server that its auth_http asks."""

from peers import base

COMMON = """\
daemon off;
user nobody nogroup;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 16000; }}
"""

MAIL = "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\n" + COMMON + """\
mail {{
    server_name bench.test;
    auth_http 127.0.0.1:{auth_port}/;
    xclient off;
    smtp_auth plain login;
    smtp_capabilities PIPELINING 8BITMIME "SIZE 52428800";
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    timeout 600s;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        protocol smtp;
    }}
}}
"""

HTTP = COMMON + """\
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    map $http_auth_pass $verdict {{ "{password}" OK; default "Invalid login or password"; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        add_header Auth-Status $verdict;
        add_header Auth-Server 127.0.0.1;
        add_header Auth-Port {sink};
        return 200;
    }}
}}
"""


class AuthHttp(base.Server):
    """Checks the password and says where the sink is. It stands in for somebody's service: on the load's core, and its
    time is not counted."""

    name = "auth-http"
    packages = ("nginx",)

    def command(self):
        password = base.PASSWORD.replace("%", "%25").replace(" ", "%20")
        path = self.write("nginx.conf", HTTP.format(folder=self.folder, port=self.port, sink=self.sink_port,
                                                    password=password))
        return ["nginx", "-c", path, "-e", "stderr"]

    def greets(self):
        return base.listens(self.port)


class Nginx(base.Server):
    name = "nginx mail"
    packages = ("nginx", "libnginx-mod-mail")

    def start(self):
        self.auth = AuthHttp(self.site, cores=self.site.load_cores).start()
        return super().start()

    def stop(self):
        super().stop()
        self.auth.stop()

    def command(self):
        path = self.write("nginx.conf", MAIL.format(folder=self.folder, port=self.port, auth_port=self.auth.port,
                                                    chain=self.certificate.chain, key=self.certificate.key))
        return ["nginx", "-c", path, "-e", "stderr"]
