// SPDX-License-Identifier: GPL-2.0
/*
 * What: exits that no guest and no emulator can cause: an EPT misconfiguration, which only a bug of
 * strata's could, and a machine check of the host while a guest runs.
 * Conditions: VMX, root, tools/testing/modules/made_up_exits.c for the host's kernel (make check
 * builds it). The machine check needs a kernel that takes it without machine-check registers, which
 * emulated CPUs have none of (mce=off).
 * Expected: the VM whose table is spoilt is stopped, every ioctl of it gives -EIO, and its
 * neighbour goes on. The host has handled the machine check before its interrupts are on, once, and
 * the guest knows nothing of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "kmsg.h"
#include "module.h"
#include "power.h"

#define FILE_KO		"/modules-test/made_up_exits.ko"
#define PARAM(name)	"/sys/module/made_up_exits/parameters/" name
#define PRINTK		"/proc/sys/kernel/printk"
#define PAGE		(GPA_HEAP + 0x5000)
#define CHECKS		20

static struct module module = { .path = FILE_KO, .name = "made_up_exits" };
static char level[64];
static volatile u64 faults;

static void need_module(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	if (regs[1] != 0x756e6547)	/* "Genu" */
		tap_skip("VMX only");
	STRATA_ONLY("kprobes in strata");
	if (access(FILE_KO, R_OK))
		tap_skip("no " FILE_KO);
	snprintf(module.params, sizeof(module.params), "tgid=%d gpa=%llu", getpid(), PAGE);
	REQUIRE_EQ(module_load(&module), 0);
	/* What is expected in the log is no sign of trouble on the console. */
	REQUIRE(sysfs_read(PRINTK, level, sizeof(level)));
	REQUIRE(sysfs_write(PRINTK, "2"));
}

static void done_with_module(void)
{
	REQUIRE(sysfs_write(PRINTK, level));
	CHECK_EQ(module_unload(&module), 0);
}

static void make_up(const char *what)
{
	REQUIRE(sysfs_write(PARAM("what"), what));
}

static bool was_made_up(void)
{
	char text[16];

	return sysfs_read(PARAM("what"), text, sizeof(text)) && !strncmp(text, "none", 4);
}

/* Memory and registers hold what they should, round after round. */
static void guest_counts(void)
{
	u64 round = 0;

	for (;;) {
		*(volatile u64 *)PAGE = ++round;
		GUEST_ASSERT_EQ(*(volatile u64 *)PAGE, round);
		GUEST_ASSERT_EQ(faults, 0);
		guest_sync(round);
	}
}

static void on_event(struct guest_frame *frame)
{
	(void)frame;
	faults++;
}

static struct vm *counting_vm(void)
{
	struct vm *vm;
	int i;

	for (i = 0; i < 32; i++)
		guest_handlers[i] = on_event;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_counts, 0);
	return vm;
}

TEST(ept_misconfiguration)
{
	struct vm *victim = counting_vm(), *neighbour = counting_vm();
	struct kvm_clock_data clock;
	struct kvm_regs regs;
	u64 round;
	int log;

	need_module();
	log = kmsg_open(false);
	for (round = 1; round < 5; round++)
		RUN_UNTIL_SYNC(victim->vcpu, round);
	make_up("ept");
	CHECK_EQ(vcpu_run_raw(victim->vcpu), -EIO);
	CHECK(was_made_up());
	CHECK(kmsg_says(log, "strata: EPT misconfiguration at 805000", ""));
	CHECK_EQ(vcpu_run_raw(victim->vcpu), -EIO);
	CHECK_EQ(kvm_ioctl(victim->vcpu->fd, KVM_GET_REGS, &regs), -EIO);
	CHECK_EQ(kvm_ioctl(victim->fd, KVM_GET_CLOCK, &clock), -EIO);
	CHECK_EQ(kvm_ioctl(victim->fd, KVM_CREATE_VCPU, (void *)1), -EIO);
	for (round = 1; round < 5; round++)
		RUN_UNTIL_SYNC(neighbour->vcpu, round);
	vm_destroy(victim);
	RUN_UNTIL_SYNC(neighbour->vcpu, round);
	vm_destroy(neighbour);
	done_with_module();
	close(log);
}

TEST(machine_check_of_the_host)
{
	char text[4096];
	struct vm *vm;
	u64 round = 0;
	int log, i;

	REQUIRE(sysfs_read("/proc/cmdline", text, sizeof(text)));
	if (!strstr(text, "mce=off"))
		tap_skip("without mce=off the kernel looks for registers that tell about it");
	vm = counting_vm();
	need_module();
	RUN_UNTIL_SYNC(vm->vcpu, ++round);
	for (i = 0; i < CHECKS; i++) {
		log = kmsg_open(false);
		make_up("mc");
		RUN_UNTIL_SYNC(vm->vcpu, ++round);
		CHECK(was_made_up());
		CHECK(kmsg_says(log, "Unexpected int18 (Machine Check)", ""));
		CHECK(!kmsg_says(log, "Unexpected int18 (Machine Check)", ""));
		RUN_UNTIL_SYNC(vm->vcpu, ++round);
		CHECK(!kmsg_says(log, "Unexpected int18 (Machine Check)", ""));
		close(log);
	}
	REQUIRE(sysfs_read(PARAM("irqs_on"), text, sizeof(text)));
	CHECK(text[0] == '0');
	vm_destroy(vm);
	done_with_module();
}
