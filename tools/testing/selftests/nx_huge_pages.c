// SPDX-License-Identifier: GPL-2.0
/*
 * What: NX huge pages: a huge page is split when something is fetched from it and not before; what
 * was split becomes huge again; the module's parameters at run time; a VM that is exempt.
 * Conditions: huge pages of the host; root.
 * Expected: nx_lpage_splits counts what is split; a huge page costs one fault, whichever of its
 * pages are used.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cpu.h"
#include "param.h"
#include "stats.h"

#define GPA	0x10000000ull
#define HUGE	(2ull << 20)
#define SIZE	(2 * HUGE)
#define RET	0xc3

#define MODE	"nx_huge_pages"
#define RATIO	"nx_huge_pages_recovery_ratio"
#define PERIOD	"nx_huge_pages_recovery_period_ms"

static volatile u64 target, fetch;

static __attribute__((noinline)) void guest_nothing(void)
{
	asm volatile("");
}

static void guest_toucher(void)
{
	for (;;) {
		if (fetch)
			((void (*)(void))target)();
		else
			*(volatile u8 *)target;
		guest_sync(1);
	}
}

static void set_mode(const char *mode, u64 ratio, u64 period)
{
	param_write(RATIO, ratio);
	param_write(PERIOD, period);
	CHECK_EQ(param_write_text(MODE, mode), 0);
}

/* What the program itself needs is mapped. */
static void warm_up(struct vm *vm)
{
	*guest_var(vm, &target) = (u64)guest_nothing;
	*guest_var(vm, &fetch) = true;
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
}

/* The program itself is in small pages, so that the counters speak of slot 1. */
static struct vm *huge_vm(bool exempt)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_VM_DISABLE_NX_HUGE_PAGES };
	u8 *mem = host_alloc(SIZE, HUGE);
	struct vm *vm;

	STRATA_ONLY("parameters of the module");
	REQUIRE(!prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	vm = vm_create(exempt ? 0 : 1);
	madvise(vm->mem, SLOT0_SIZE, MADV_NOHUGEPAGE);
	if (exempt) {
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
		vcpu_create(vm, 0);
		xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	}
	REQUIRE(!prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	REQUIRE(!madvise(mem, SIZE, MADV_HUGEPAGE));
	memset(mem, RET, SIZE);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_toucher, 0);
	warm_up(vm);
	return vm;
}

static u64 splits(struct vm *vm)
{
	return stat_of(vm->fd, "nx_lpage_splits");
}

/* Nested page faults of one access to a page of slot 1 */
static u64 faults_of(struct vm *vm, u64 page, bool code)
{
	u64 before = stat_of(vm->vcpu->fd, "pf_fixed");

	*guest_var(vm, &target) = GPA + page * 4096;
	*guest_var(vm, &fetch) = code;
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	return stat_of(vm->vcpu->fd, "pf_fixed") - before;
}

#define READ(page)	faults_of(vm, page, false)
#define FETCH(page)	faults_of(vm, page, true)

/* Until nothing is split any more, 20 s at most */
static void wait_recovered(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < 200 && splits(vm); i++)
		usleep(100000);
	CHECK_EQ(splits(vm), 0);
}

TEST(split_at_fetch)
{
	struct vm *vm;

	set_mode("force", 0, 0);
	vm = huge_vm(false);
	/* Data: one fault for all of it. */
	CHECK_EQ(READ(0), 1);
	CHECK_EQ(READ(300), 0);
	CHECK_EQ(splits(vm), 0);
	/* Code: split, and all of it is executable and still mapped. */
	CHECK(FETCH(5) >= 1);
	CHECK_EQ(splits(vm), 1);
	CHECK_EQ(FETCH(300), 0);
	CHECK_EQ(READ(7), 0);
	CHECK_EQ(splits(vm), 1);
	/* Code where nothing was mapped before; data beside it does not make it huge. */
	CHECK_EQ(FETCH(512), 1);
	CHECK_EQ(READ(800), 1);
	CHECK_EQ(FETCH(512), 0);
	CHECK_EQ(splits(vm), 2);
	vm_destroy(vm);
}

TEST(recovery)
{
	struct vm *vm;
	int i;

	set_mode("force", 1, 100);
	vm = huge_vm(false);
	for (i = 0; i < 3; i++) {
		CHECK(FETCH(5) >= 1);
		CHECK(FETCH(512) >= 1);
		wait_recovered(vm);
		CHECK_EQ(READ(0), 1);
		CHECK_EQ(READ(300), 0);
		CHECK_EQ(READ(700), 1);
		CHECK_EQ(READ(1023), 0);
	}
	vm_destroy(vm);
}

/*
 * A share of the list in each period, and none where the ratio is 0; a new period counts from now
 * on.
 */
TEST(recovery_settings)
{
	struct vm *vm;

	set_mode("force", 0, 50);
	vm = huge_vm(false);
	CHECK_EQ(FETCH(5), 1);
	CHECK_EQ(FETCH(512), 1);
	usleep(500000);
	CHECK_EQ(splits(vm), 2);
	param_write(PERIOD, 3600 * 1000);
	param_write(RATIO, 2);
	usleep(500000);
	CHECK_EQ(splits(vm), 2);
	param_write(PERIOD, 50);
	wait_recovered(vm);
	CHECK_EQ(param_read(RATIO), 2);
	CHECK_EQ(param_read(PERIOD), 50);
	CHECK_EQ(param_write_text(RATIO, "many"), -EINVAL);
	CHECK_EQ(param_read(RATIO), 2);
	vm_destroy(vm);
}

/*
 * While writes are logged pages are small anyway: nothing is given up, and they become huge when
 * the log ends.
 */
TEST(with_dirty_log)
{
	struct vm *vm;
	struct kvm_userspace_memory_region r;

	set_mode("force", 0, 50);
	vm = huge_vm(false);
	CHECK_EQ(FETCH(5), 1);
	r = vm->slot[1];
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, GPA, SIZE, (void *)r.userspace_addr), 0);
	param_write(RATIO, 1);
	FETCH(600);
	wait_recovered(vm);
	CHECK_EQ(FETCH(5), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, SIZE, (void *)r.userspace_addr), 0);
	CHECK_EQ(READ(0), 1);
	CHECK_EQ(READ(300), 0);
	vm_destroy(vm);
}

TEST(switched_at_run_time)
{
	struct vm *vm;

	set_mode("off", 0, 0);
	CHECK_EQ(param_letter(MODE), 'N');
	vm = huge_vm(false);
	CHECK_EQ(FETCH(0), 1);
	CHECK_EQ(FETCH(300), 0);
	CHECK_EQ(splits(vm), 0);
	/* The huge leaf was executable: it goes. */
	set_mode("force", 0, 0);
	CHECK_EQ(param_letter(MODE), 'Y');
	warm_up(vm);
	CHECK_EQ(READ(300), 1);
	CHECK(FETCH(300) >= 1);
	CHECK_EQ(splits(vm), 1);
	/* And nothing stays split. */
	set_mode("off", 0, 0);
	CHECK_EQ(splits(vm), 0);
	warm_up(vm);
	CHECK_EQ(FETCH(300), 1);
	CHECK_EQ(FETCH(5), 0);
	CHECK_EQ(splits(vm), 0);
	vm_destroy(vm);
}

TEST(exempt_vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_VM_DISABLE_NX_HUGE_PAGES };
	struct vm *vm, *other;

	set_mode("force", 0, 0);
	vm = huge_vm(true);
	CHECK(kvm_cap(vm->fd, KVM_CAP_VM_DISABLE_NX_HUGE_PAGES) > 0);
	CHECK_EQ(FETCH(0), 1);
	CHECK_EQ(FETCH(300), 0);
	CHECK_EQ(splits(vm), 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap), -EINVAL);
	vm_destroy(vm);
	other = vm_create_bare(0);
	cap.args[0] = 1;
	CHECK_EQ(kvm_ioctl(other->fd, KVM_ENABLE_CAP, &cap), -EINVAL);
	cap.args[0] = 0;
	REQUIRE(!setreuid(65534, 65534));
	CHECK_EQ(kvm_ioctl(other->fd, KVM_ENABLE_CAP, &cap), -EPERM);
}

/* In a file of the kernel's that has a line with words */
static bool file_says(const char *path, const char *what, const char *words)
{
	FILE *f = fopen(path, "r");
	char line[4096];
	bool found = false;

	REQUIRE(f);
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, what, strlen(what)) && strstr(line, words);
	fclose(f);
	return found;
}

#define BUG_FILE "/sys/devices/system/cpu/vulnerabilities/itlb_multihit"

/* The last case: the settings that the module began with. */
TEST(mode_by_the_erratum)
{
	bool erratum = file_says("/proc/cpuinfo", "bugs", "itlb_multihit");
	/* Without a VM virtualization is off, and the kernel says that instead. */
	struct vm *vm = vm_create_bare(0);

	set_mode("force", 60, 0);
	CHECK_EQ(param_write_text(MODE, "maybe"), -EINVAL);
	CHECK_EQ(param_letter(MODE), 'Y');
	CHECK_EQ(param_write_text(MODE, "0"), 0);
	CHECK_EQ(param_letter(MODE), 'N');
	if (erratum)
		CHECK(file_says(BUG_FILE, "", "KVM: Vulnerable"));
	CHECK_EQ(param_write_text(MODE, "Y\n"), 0);
	CHECK_EQ(param_letter(MODE), 'Y');
	CHECK_EQ(param_write_text(MODE, "auto"), 0);
	tap_note("the CPU has %s ITLB multihit erratum", erratum ? "the" : "no");
	CHECK_EQ(param_letter(MODE), erratum ? 'Y' : 'N');
	if (erratum)
		CHECK(file_says(BUG_FILE, "", "KVM: Mitigation: Split huge pages"));
	vm_destroy(vm);
}
