package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// makeDeb builds the package with a version.
func makeDeb(t *testing.T, version string) string {
	t.Helper()
	for _, program := range []string{"lintian", "systemd-analyze", "nsenter", "adduser"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: make test installs what the tests need", err)
		}
	}
	e2eCommand(t, "make", "--no-print-directory", "deb", "VERSION="+version, "DEB_VERSION="+version)
	deb := filepath.Join("dist", "fileshare_"+version+"_"+e2eCommand(t, "dpkg", "--print-architecture")+".deb")
	t.Cleanup(func() {
		if err := os.Remove(deb); err != nil {
			t.Error(err)
		}
	})
	return deb
}

// TestPackage builds the Debian package and lives with it: installation,
// sandbox, upgrade, removal, purge.
func TestPackage(t *testing.T) {
	b := startBox(t)
	for _, version := range []string{"1.0", "1.1"} {
		deb := makeDeb(t, version)
		if version == "1.0" {
			e2eCommand(t, "lintian", "--allow-root", "--fail-on", "error,warning", deb)
		}
		content, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.share, version+".deb"), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.sh("rm -f /var/lib/man-db/auto-update; dpkg --install /mnt/1.0.deb") // its index takes longer than all else
	for _, step := range []struct {
		name string
		test func(*box)
	}{
		{"installed", testPackageInstalled}, {"sandbox", testPackageSandbox}, {"upgrade", testPackageUpgrade}, {"socket", testPackageSocket},
		{"stop", testPackageStop},
		{"failures", testPackageFailures}, {"purge", testPackagePurge}, {"without systemd", testPackageAlone},
	} {
		if !t.Run(step.name, func(t *testing.T) { b.t = t; step.test(b) }) {
			return // each goes on where the one before has ended
		}
	}
}

const boxURL = "http://127.0.0.1:8080"

// testPackageInstalled: the daemon runs with the configuration of the package,
// and what belongs to it is where it is looked for.
func testPackageInstalled(b *box) {
	b.want("systemctl is-active fileshare; systemctl is-enabled fileshare", "active\nenabled")
	b.want("systemctl show --property Type,User,NRestarts fileshare", "Type=notify\nNRestarts=0\nUser=fileshare")
	b.want("curl -sf "+boxURL+"/ready >/dev/null && echo ready", "ready")
	b.want("stat -c '%U:%G %a' /etc/fileshare/config.yaml /var/lib/fileshare /var/lib/fileshare/records.db",
		"root:fileshare 640\nfileshare:fileshare 700\nfileshare:fileshare 600")
	b.want("setpriv --reuid=nobody --clear-groups cat /etc/fileshare/config.yaml 2>&1 || true", "cat: /etc/fileshare/config.yaml: Permission denied")
	b.want("fileshare config --config /etc/fileshare/config.yaml | grep -o '/var/lib/fileshare'", "/var/lib/fileshare")
	b.want("dpkg --verify fileshare", "")
	b.want("man --where fileshare", "/usr/share/man/man1/fileshare.1.gz")
	b.sh("bash -c '. /usr/share/bash-completion/completions/fileshare && complete -p fileshare'")
	b.sh("systemd-analyze verify fileshare.service fileshare.socket")

	// The first start made an account.
	b.sh(`password=$(journalctl --unit fileshare --output cat | sed -n 's/^ *password  //p')
echo "$password" | fileshare login ` + boxURL + ` --user admin
echo 'kept by a package' >/tmp/note.txt
fileshare put /tmp/note.txt --ttl 1d >/tmp/link
curl -sf "$(cat /tmp/link)" | cmp - /tmp/note.txt`)
}

// testPackageSandbox: systemd finds little to say against the unit, and the
// process has what the unit says.
func testPackageSandbox(b *box) {
	out := b.sh("systemd-analyze --no-pager security --threshold=15 fileshare.service")
	b.t.Log(regexp.MustCompile(`Overall exposure level.*`).FindString(out))
	status := b.sh("cat /proc/$(systemctl show --property MainPID --value fileshare)/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000"} {
		if !strings.Contains(status, want+"\n") {
			b.t.Errorf("no %q in\n%s", want, status)
		}
	}
	root := "/proc/$(systemctl show --property MainPID --value fileshare)/root"
	for _, path := range []string{"/etc/fileshare", "/usr/bin", "/var/log", "/home"} {
		b.want("nsenter --mount=/proc/$(systemctl show --property MainPID --value fileshare)/ns/mnt sh -c 'touch "+path+"/x 2>/dev/null && echo written || echo refused'", "refused")
	}
	b.want("ls "+root+"/root 2>/dev/null | wc -l", "0")
	// Contents above what lies among the records: blobs, sendfile, all that large files need.
	b.sh(`head -c 30000000 /dev/urandom >/tmp/film.bin
link=$(fileshare put -j 4 /tmp/film.bin)
fileshare get -o /tmp/copy.bin "$link"
cmp /tmp/film.bin /tmp/copy.bin`)
	if log := b.sh("journalctl --unit fileshare --output cat"); strings.Contains(log, "not permitted") || strings.Contains(log, "level=ERROR") {
		b.t.Errorf("the daemon complains:\n%s", log)
	}
}

// testPackageUpgrade: the new version runs, the configuration and the files
// are the old ones.
func testPackageUpgrade(b *box) {
	b.sh("echo 'log: {format: json}' >>/etc/fileshare/config.yaml")
	before := b.sh("systemctl show --property MainPID --value fileshare")
	b.sh("dpkg --install /mnt/1.1.deb </dev/null")
	b.want("systemctl is-active fileshare", "active")
	if after := b.sh("systemctl show --property MainPID --value fileshare"); after == before {
		b.t.Error("the old daemon still runs")
	}
	b.want("fileshare version | cut -d ' ' -f 2", "1.1")
	b.want("tail -n 1 /etc/fileshare/config.yaml", "log: {format: json}")
	b.want("stat -c '%U:%G %a' /etc/fileshare/config.yaml", "root:fileshare 640")
	b.want(`curl -sf "$(cat /tmp/link)" | cmp - /tmp/note.txt && echo same`, "same")
}

// testPackageSocket: with the socket it is systemd who listens.
func testPackageSocket(b *box) {
	b.sh("systemctl stop fileshare && systemctl enable --now fileshare.socket")
	b.want("systemctl is-active fileshare || true", "inactive")
	b.want(`curl -sf "$(cat /tmp/link)" | cmp - /tmp/note.txt && echo same`, "same")
	b.want("systemctl is-active fileshare", "active")
	// Who connects during restarts waits, and is answered.
	b.want(`(for i in 1 2 3 4 5; do systemctl restart fileshare; done) & refused=0
for i in $(seq 100); do curl -sf `+boxURL+`/health >/dev/null || refused=$((refused + 1)); done; wait
echo $refused`, "0")
	b.sh("systemctl disable --now fileshare.socket && systemctl restart fileshare")
	b.want(`curl -sf "$(cat /tmp/link)" | cmp - /tmp/note.txt && echo same`, "same")
}

// testPackageStop: a transfer may finish, though the unit alone would not wait
// for it.
func testPackageStop(b *box) {
	b.sh(`dropin=/run/systemd/system/fileshare.service.d
mkdir -p $dropin
printf '[Service]\nTimeoutStopSec=1s\n' >$dropin/stop.conf
systemctl daemon-reload
link=$(fileshare put /tmp/film.bin)
curl -sf --limit-rate 8M -o /tmp/slow.bin "$link" & slow=$!
until [ -s /tmp/slow.bin ]; do sleep 0.05; done
systemctl stop fileshare
wait $slow
cmp /tmp/film.bin /tmp/slow.bin
rm -r $dropin
systemctl daemon-reload`)
	b.want("systemctl show --property Result fileshare", "Result=success")
	b.sh("systemctl start fileshare")
}

// testPackageFailures: what dies is started again; what is configured wrongly
// is not.
func testPackageFailures(b *box) {
	b.sh("systemctl kill --signal KILL fileshare")
	b.until("systemctl show --property NRestarts --value fileshare; systemctl is-active fileshare", "1\nactive")
	b.sh("cp /etc/fileshare/config.yaml /tmp && echo 'nonsense: 1' >>/etc/fileshare/config.yaml")
	b.want("systemctl restart fileshare >/dev/null 2>&1 || systemctl is-failed fileshare", "failed")
	b.want("systemctl show --property NRestarts,ExecMainStatus fileshare", "NRestarts=0\nExecMainStatus=2")
	b.sh("cat /tmp/config.yaml >/etc/fileshare/config.yaml && systemctl restart fileshare")
}

// leftovers prints what of the package is on the disk and in the accounts.
const leftovers = `find /etc /usr /var/lib /var/log /run -xdev -name '*fileshare*' ! -path '/usr/local/*' ! -path '/usr/share/doc-base/*'
getent passwd fileshare || getent group fileshare || true`

// testPackagePurge: files and configuration survive a removal, and nothing
// survives a purge.
func testPackagePurge(b *box) {
	b.sh("dpkg --remove fileshare")
	b.want("systemctl is-active fileshare || true; pgrep fileshare || true", "inactive")
	b.want("ls -d /usr/bin/fileshare /etc/fileshare/config.yaml /var/lib/fileshare/records.db 2>/dev/null || true",
		"/etc/fileshare/config.yaml\n/var/lib/fileshare/records.db")
	b.sh("dpkg --install /mnt/1.1.deb </dev/null")
	b.want(`curl -sf "$(cat /tmp/link)" | cmp - /tmp/note.txt && echo same`, "same")
	b.want("tail -n 1 /etc/fileshare/config.yaml", "log: {format: json}")
	b.sh("dpkg --purge fileshare")
	b.want(leftovers, "")
}

// testPackageAlone: where no systemd runs the package installs as well, and
// the program runs as its user.
func testPackageAlone(b *box) {
	b.sh(`unshare --mount sh -euc '
mount -t tmpfs run /run
dpkg --install /mnt/1.0.deb
setpriv --reuid=fileshare --regid=fileshare --clear-groups fileshare serve --config /etc/fileshare/config.yaml 2>/tmp/log & daemon=$!
until grep -q listening /tmp/log; do kill -0 $daemon; sleep 0.05; done
curl -sf ` + boxURL + `/ready
kill $daemon
wait $daemon
dpkg --purge fileshare'`)
	b.want(leftovers, "")
}
