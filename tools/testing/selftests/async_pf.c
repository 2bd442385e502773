// SPDX-License-Identifier: GPL-2.0
/*
 * What: asynchronous page faults: MSR_KVM_ASYNC_PF_EN, _INT and _ACK, the page fault that says that
 * a page is not there, the interrupt that says that it has come. The pages are registered with
 * userfaultfd, so that the test decides when they come.
 * Conditions: KVM_CAP_ASYNC_PF_INT, userfaultfd.
 * Expected: the guest runs while its page is on its way, and is told once of each; where it cannot
 * take the fault it waits. After MSRs were set by userspace all who wait are woken, and nobody
 * waits for ever.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "pv.h"

#define WINDOW	0x40000000ull
#define PAGES	64
#define APF	(GPA_HEAP + 0x2000)
#define VECTOR	0x52
#define ALL	0xffffffffu
#define VALUE(n) (0x1111111100000000ull + (n))
#define EN	(KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_DELIVERY_AS_INT)

/* The tokens that were given, and whether the page has come. */
static volatile u64 absent, came, woken, apf_faults;
static volatile u32 tokens[PAGES];

static volatile struct kvm_vcpu_pv_apf_data *apf(void)
{
	return (void *)APF;
}

static void on_ready(struct guest_frame *frame __attribute__((unused)))
{
	u32 token = apf()->token;
	u64 i;

	wrmsr(X2(APIC_EOI), 0);
	if (token == ALL) {
		woken++;
	} else {
		for (i = 0; i < absent && tokens[i] != token; i++)
			;
		GUEST_ASSERT(i < absent);
		came++;
	}
	apf()->token = 0;
	wrmsr(MSR_KVM_ASYNC_PF_ACK, 1);
}

/* A task would be put to sleep: here the whole processor waits, by HLT with interrupts on. */
static void on_fault(struct guest_frame *frame)
{
	u64 had = came, were = woken;

	GUEST_ASSERT_EQ(apf()->flags, KVM_PV_REASON_PAGE_NOT_PRESENT);
	GUEST_ASSERT_EQ(frame->error, 0);
	tokens[absent] = read_cr2();
	apf()->flags = 0;
	apf_faults++;
	absent++;
	/* Between these two a thread of the host's lets the page come. */
	while (came == had && woken == were)
		asm volatile("sti; hlt; cli");
}

/* The same, but the page is left to come by itself. */
static void on_fault_no_wait(struct guest_frame *frame)
{
	GUEST_ASSERT_EQ(apf()->flags, KVM_PV_REASON_PAGE_NOT_PRESENT);
	tokens[absent++] = read_cr2();
	apf()->flags = 0;
	apf_faults++;
	/* What was to be read is left out: MOV (%rax), %rax is three bytes long. */
	frame->rip += 3;
}

static u64 touch(u64 n)
{
	u64 val = WINDOW + n * 4096;

	asm volatile(".byte 0x48, 0x8b, 0x00" : "+a"(val) : : "memory");
	return val;
}

static void enable(u64 flags)
{
	x2apic_on();
	wrmsr(MSR_KVM_ASYNC_PF_INT, VECTOR);
	wrmsr(MSR_KVM_ASYNC_PF_EN, APF | EN | flags);
	guest_sti();
}

static int uffd;
static u8 *window;

/* Memory whose pages come when give() gives them. */
static void add_window(struct vm *vm)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (host_is_bochs_svm())
		tap_skip("Bochs' VMRUN does not load CR2, which holds the token");
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0)
		tap_skip("no userfaultfd");
	window = host_alloc(PAGES * 4096, 4096);
	madvise(window, PAGES * 4096, MADV_DONTNEED);
	reg.range.start = (u64)window;
	reg.range.len = PAGES * 4096;
	REQUIRE_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, WINDOW, PAGES * 4096, window), 0);
}

static struct vm *apf_vm(void *fn)
{
	struct vm *vm;

	NEED_CAP(KVM_CAP_ASYNC_PF_INT);
	guest_handlers[VECTOR] = on_ready;
	vm = pv_apic_vm(1, fn);
	add_window(vm);
	return vm;
}

/* The page that is asked for, when somebody asks. */
static u64 asked(void)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	REQUIRE_EQ(poll(&p, 1, 30000), 1);
	REQUIRE_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	REQUIRE_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	return (msg.arg.pagefault.address - (u64)window) / 4096;
}

static void give(u64 n)
{
	static u64 page[512] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (u64)window + n * 4096, .src = (u64)page, .len = 4096 };

	page[0] = VALUE(n);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_COPY, &copy), 0);
}

/* ---- one at a time ---- */

static void guest_touches(void)
{
	u64 n;

	guest_handlers[PF_VECTOR] = on_fault;
	enable(KVM_ASYNC_PF_SEND_ALWAYS);
	for (n = 0; n < 20; n++)
		GUEST_ASSERT_EQ(touch(n), VALUE(n));
	GUEST_ASSERT_EQ(apf_faults, 20);
	GUEST_ASSERT_EQ(came, 20);
	/* What is there needs nobody. */
	for (n = 0; n < 20; n++)
		GUEST_ASSERT_EQ(touch(n), VALUE(n));
	GUEST_ASSERT_EQ(apf_faults, 20);
	guest_done();
}

TEST(runs_meanwhile)
{
	struct vm *vm = apf_vm(guest_touches);
	pthread_t thread;
	u64 n;

	pthread_create(&thread, NULL, run_to_done, vm->vcpu);
	for (n = 0; n < 20; n++) {
		CHECK_EQ(asked(), n);
		/* The guest was told, and the page is not there yet. */
		while (*guest_var(vm, &absent) < n + 1)
			usleep(100);
		CHECK_EQ(*guest_var(vm, &came), n);
		give(n);
	}
	pthread_join(thread, NULL);
	vm_destroy(vm);
}

/* ---- many ---- */

static void guest_collects(void)
{
	u64 n;

	guest_handlers[PF_VECTOR] = on_fault_no_wait;
	enable(KVM_ASYNC_PF_SEND_ALWAYS);
	for (n = 0; n < 10; n++)
		touch(n);
	GUEST_ASSERT_EQ(apf_faults, 10);
	guest_sync(1);
	while (came < 10)
		asm volatile("sti; hlt; cli");
	for (n = 0; n < 10; n++)
		GUEST_ASSERT_EQ(touch(n), VALUE(n));
	guest_done();
}

TEST(many_at_once)
{
	struct vm *vm = apf_vm(guest_collects);
	pthread_t thread;
	u64 n;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	for (n = 0; n < 10; n++)
		asked();
	/* All are there before the guest hears of the first. */
	for (n = 10; n--;)
		give(n);
	usleep(20000);
	CHECK_EQ(*guest_var(vm, &came), 0);
	pthread_create(&thread, NULL, run_to_done, vm->vcpu);
	pthread_join(thread, NULL);
	CHECK_EQ(*guest_var(vm, &came), 10);
	vm_destroy(vm);
}

/* ---- where it may not ---- */

static void guest_cannot(void)
{
	guest_handlers[PF_VECTOR] = on_fault;
	enable(0);
	/* In the kernel, which did not ask for that. */
	GUEST_ASSERT_EQ(touch(0), VALUE(0));
	enable(KVM_ASYNC_PF_SEND_ALWAYS);
	asm volatile("cli");
	GUEST_ASSERT_EQ(touch(1), VALUE(1));
	guest_sti();
	/* The last one was not looked at. */
	apf()->flags = KVM_PV_REASON_PAGE_NOT_PRESENT;
	GUEST_ASSERT_EQ(touch(2), VALUE(2));
	apf()->flags = 0;
	/* Without the interrupt there would be no end of it. */
	wrmsr(MSR_KVM_ASYNC_PF_EN, APF | KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_SEND_ALWAYS);
	GUEST_ASSERT_EQ(touch(3), VALUE(3));
	wrmsr(MSR_KVM_ASYNC_PF_EN, 0);
	GUEST_ASSERT_EQ(touch(4), VALUE(4));
	GUEST_ASSERT_EQ(apf_faults, 0);
	guest_done();
}

TEST(waits_where_it_must)
{
	struct vm *vm = apf_vm(guest_cannot);
	pthread_t thread;
	u64 n;

	pthread_create(&thread, NULL, run_to_done, vm->vcpu);
	for (n = 0; n < 5; n++) {
		CHECK_EQ(asked(), n);
		give(n);
	}
	pthread_join(thread, NULL);
	vm_destroy(vm);
}

/* ---- saved and restored ---- */

static u64 get(struct vcpu *vcpu, u32 msr)
{
	u64 val = 0;

	CHECK_EQ(vcpu_get_msr(vcpu, msr, &val), 1);
	return val;
}

static void guest_restored(void)
{
	guest_handlers[PF_VECTOR] = on_fault;
	enable(KVM_ASYNC_PF_SEND_ALWAYS);
	GUEST_ASSERT_EQ(touch(0), VALUE(0));
	GUEST_ASSERT_EQ(woken, 1);
	GUEST_ASSERT_EQ(apf_faults, 2);
	GUEST_ASSERT_EQ(came, 1);
	guest_done();
}

static void *run_each(void *arg)
{
	CHECK_EQ(vcpu_run_each(arg), RUN_DONE);
	return NULL;
}

/*
 * At the exit that the page fault comes from, with the fault pending; or later, with the guest
 * waiting for its page.
 */
static void restored(bool early)
{
	struct kvm_enable_cap each = { .cap = STRATA_CAP_EXIT_EACH };
	struct vcpu *vcpu;
	pthread_t thread;
	struct vm *vm;
	u64 en, vector;

	STRATA_ONLY("STRATA_CAP_EXIT_EACH");
	guest_handlers[VECTOR] = on_ready;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &each);
	vcpu = vcpu_create(vm, 0);
	xioctl(vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vcpu, guest_restored, 0);
	add_window(vm);

	for (;;) {
		struct kvm_vcpu_events ev;

		REQUIRE_EQ(vcpu_run_raw(vcpu), 0);
		REQUIRE_EQ(vcpu->run->exit_reason, STRATA_EXIT_EACH);
		xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
		if (early ? ev.exception.pending | ev.exception.injected : *guest_var(vm, &absent) == 1)
			break;
	}
	CHECK_EQ(asked(), 0);
	en = get(vcpu, MSR_KVM_ASYNC_PF_EN);
	vector = get(vcpu, MSR_KVM_ASYNC_PF_INT);
	CHECK_EQ(en, APF | EN | KVM_ASYNC_PF_SEND_ALWAYS);
	CHECK_EQ(vector, VECTOR);
	CHECK_EQ(get(vcpu, MSR_KVM_ASYNC_PF_ACK), 0);
	/* What a restore does. The page that was on its way is not known there. */
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_EN, 0), 1);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_EN, en), 1);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_INT, vector), 1);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_ACK, 0), 1);
	pthread_create(&thread, NULL, run_each, vcpu);
	while (*guest_var(vm, &apf_faults) < 2)
		usleep(100);
	give(0);
	pthread_join(thread, NULL);
	vm_destroy(vm);
}

TEST(restored_with_the_fault_pending)
{
	restored(true);
}

TEST(restored_while_waiting)
{
	restored(false);
}

/* ---- MSRs ---- */

TEST(msrs)
{
	struct vm *vm, *none;
	u64 val;

	NEED_CAP(KVM_CAP_ASYNC_PF_INT);
	vm = pv_apic_vm(1, guest_touches);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, APF | EN | 0x10), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, APF | EN | 0x20), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_INT, 0x100), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, APF | EN), 1);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, &val), 1);
	CHECK_EQ(val, APF | EN);
	if (on_strata())
		CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, APF | EN | KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT), 0);
	/* Without a local APIC in the kernel there is nothing but off. */
	none = vm_create_bare(1);
	CHECK_EQ(vcpu_set_msr(none->vcpu, MSR_KVM_ASYNC_PF_EN, APF | EN), 0);
	CHECK_EQ(vcpu_set_msr(none->vcpu, MSR_KVM_ASYNC_PF_EN, 0), 1);
	vm_destroy(none);
	vm_destroy(vm);
}
