// SPDX-License-Identifier: GPL-2.0
/*
 * What: the host's kernel ends while guests run on each of its CPUs: HOW=reboot, HOW=kexec or
 * HOW=crash.
 * Conditions: started by the harness as the job "leave". kexec and crash: the next kernel and its
 * root image in /next, and for the crash memory set aside for it (crashkernel=).
 * Expected: the kernel goes without a complaint; what comes next is seen by the harness and by the
 * next kernel's init, which loads strata again and runs another program.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "power.h"

/* A guest that never exits by itself, in a thread that nobody stops. */
static void guest_spins(void)
{
	guest_sti();
	for (;;)
		;
}

static void *spin(void *arg)
{
	struct vm *vm = arg;
	int r = vcpu_run_raw(vm->vcpu);

	/* Only a signal may end it, and nobody sends one. */
	printf("not ok - KVM_RUN returned %d, exit %u\n", r, vm->vcpu->run->exit_reason);
	fflush(stdout);
	return NULL;
}

static void spin_on(int cpu)
{
	struct vm *vm = vm_create(1);
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	vcpu_set_long(vm->vcpu, guest_spins, 0);
	pthread_attr_init(&attr);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	REQUIRE(!pthread_attr_setaffinity_np(&attr, sizeof(set), &set));
	REQUIRE(!pthread_create(&thread, &attr, spin, vm));
	pthread_attr_destroy(&attr);
}

/*
 * Two on each CPU: one that is in the guest, one that is to be scheduled; and one that exits all
 * the time.
 */
static void busy_guests(void)
{
	static struct counter counter;
	long cpu, nr = sysconf(_SC_NPROCESSORS_ONLN);

	for (cpu = 0; cpu < nr; cpu++) {
		spin_on(cpu);
		spin_on(cpu);
	}
	counter_start(&counter, nr - 1);
	counter_goes_on(&counter, "before the end");
}

/*
 * The running kernel's command line without what sets memory aside, and the number of the job that
 * goes on there.
 */
static void next_command_line(char *line, size_t size, const char *more)
{
	char now[2048], *word, *rest = now;

	REQUIRE(sysfs_read("/proc/cmdline", now, sizeof(now)));
	line[0] = 0;
	while ((word = strsep(&rest, " \n"))) {
		if (*word && strncmp(word, "crashkernel=", 12))
			snprintf(line + strlen(line), size - strlen(line), "%s ", word);
	}
	snprintf(line + strlen(line), size - strlen(line), "next_step=%s%s", getenv("STEP"), more);
}

static void load_next(unsigned long flags, const char *more)
{
	int kernel = open("/next/vmlinuz", O_RDONLY | O_CLOEXEC),
	    root = open("/next/initramfs", O_RDONLY | O_CLOEXEC);
	char line[2048];
	long r;

	if (kernel < 0 || root < 0 || !getenv("STEP"))
		tap_skip("no next kernel in this host");
	next_command_line(line, sizeof(line), more);
	r = syscall(SYS_kexec_file_load, kernel, root, strlen(line) + 1, line, flags);
	if (r)
		tap_die(__FILE__, __LINE__, "kexec_file_load: %m");
}

/* As `reboot -f` does, while everything runs on. */
static void leave(int how)
{
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, how, NULL);
	tap_die(__FILE__, __LINE__, "still here: %m");
}

TEST(leave_the_host)
{
	const char *how = getenv("HOW");

	if (!how)
		tap_skip("ends the host: HOW= says in which way");
	if (!strcmp(how, "kexec"))
		load_next(0, "");
	else if (!strcmp(how, "crash"))
		load_next(KEXEC_FILE_ON_CRASH, " nr_cpus=1");
	busy_guests();
	if (!strcmp(how, "reboot"))
		leave(LINUX_REBOOT_CMD_RESTART);
	if (!strcmp(how, "kexec"))
		leave(LINUX_REBOOT_CMD_KEXEC);
	if (!strcmp(how, "crash"))
		sysfs_write("/proc/sysrq-trigger", "c");
	tap_die(__FILE__, __LINE__, "no way to leave called %s", how);
}
