// SPDX-License-Identifier: GPL-2.0
/*
 * What: the guest's TSC and clock where something under them changes: KVM_VCPU_TSC_OFFSET, a move
 * to another VM, a TSC rate of the VM's own, a thread that moves between the host's CPUs, a host
 * that sleeps; and that KVM_GET_CLOCK's three clocks are of one moment.
 * Conditions: TSC scaling, two CPUs or suspend to memory where the case says so.
 * Expected: the guest reads scaled host TSC plus offset to the tick; its clock agrees with
 * KVM_GET_CLOCK; neither goes back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "power.h"
#include "pv.h"

#define PAGE	(GPA_HEAP + 0x1000)

static volatile u64 looks, backwards, stop;

/* ---- the offset ---- */

static void guest_reads(void)
{
	for (;;)
		guest_sync(this_cpu()->value = rdtsc());
}

static int offset_attr(struct vcpu *vcpu, unsigned long cmd, u64 attr, void *addr)
{
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = attr, .addr = (u64)addr };

	return kvm_ioctl(vcpu->fd, cmd, &a);
}

static u64 guest_tsc(struct vcpu *vcpu)
{
	REQUIRE_EQ(vcpu_run(vcpu), RUN_SYNC);
	return vcpu_sync_value(vcpu);
}

static void reads_between(struct vcpu *vcpu, u64 offset)
{
	u64 before = rdtsc() + offset, guest = guest_tsc(vcpu), after = rdtsc() + offset;

	if ((int64_t)(guest - before) < 0 || (int64_t)(after - guest) < 0)
		tap_fail(__FILE__, __LINE__, "the guest read %#llx, not in %#llx..%#llx",
			 (long long)guest, (long long)before, (long long)after);
}

TEST(offset)
{
	struct vm *vm = vm_create(2);
	u64 offset, other, i;

	NEED_CAP(KVM_CAP_VCPU_ATTRIBUTES);
	for (i = 0; i < 2; i++)
		vcpu_set_long(&vm->vcpu[i], guest_reads, i);
	CHECK_EQ(offset_attr(vm->vcpu, KVM_HAS_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, NULL), 0);
	CHECK_EQ(offset_attr(vm->vcpu, KVM_HAS_DEVICE_ATTR, 7, NULL), -ENXIO);
	CHECK_EQ(offset_attr(vm->vcpu, KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, NULL), -EFAULT);
	CHECK_EQ(offset_attr(vm->vcpu, KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, NULL), -EFAULT);
	CHECK_EQ(offset_attr(&vm->vcpu[1], KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, &other), 0);
	for (i = 0; i < 4; i++) {
		static const u64 offsets[] = { 0, 1ull << 40, 0ull - (1ull << 36), 12345 };

		offset = offsets[i];
		CHECK_EQ(offset_attr(vm->vcpu, KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, &offset), 0);
		offset = 1;
		CHECK_EQ(offset_attr(vm->vcpu, KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, &offset), 0);
		CHECK_EQ(offset, offsets[i]);
		reads_between(vm->vcpu, offset);
		/* Each vCPU has its own. */
		reads_between(&vm->vcpu[1], other);
	}
	vm_destroy(vm);
}

/*
 * The guest's TSC after a move: by the MSR, and by the offset as the ABI has it reckoned
 * (devices/vcpu.rst).
 */
TEST(tsc_moves_on)
{
	struct kvm_clock_data src = { }, dst = { };
	struct vm *vm = vm_create(1), *next;
	u64 khz, before, saved, offset, was;
	int i;

	NEED_CAP(KVM_CAP_VCPU_ATTRIBUTES);
	vcpu_set_long(vm->vcpu, guest_reads, 0);
	for (i = 0; i < 6; i++) {
		before = guest_tsc(vm->vcpu);
		xioctl(vm->fd, KVM_GET_CLOCK, &src);
		if (!(src.flags & KVM_CLOCK_HOST_TSC) || !(src.flags & KVM_CLOCK_REALTIME))
			tap_skip("the host's TSC is not stable");
		CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_TSC, &saved), 1);
		CHECK(saved >= before);
		CHECK_EQ(offset_attr(vm->vcpu, KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, &was), 0);
		khz = kvm_ioctl(vm->vcpu->fd, KVM_GET_TSC_KHZ, NULL);
		usleep(1000);
		next = vm_create(1);
		vcpu_set_long(next->vcpu, guest_reads, 0);
		if (i & 1) {
			CHECK_EQ(vcpu_set_msr(next->vcpu, MSR_TSC, saved), 1);
		} else {
			src.flags = KVM_CLOCK_REALTIME;
			xioctl(next->fd, KVM_SET_CLOCK, &src);
			xioctl(next->fd, KVM_GET_CLOCK, &dst);
			CHECK(dst.clock >= src.clock);
			offset = was +
				 (int64_t)((__int128)(int64_t)(dst.clock - src.clock) *
					   (int64_t)khz / 1000000) +
				 (src.host_tsc - dst.host_tsc);
			/*
			 * On the same host it is the same, but for what two clocks differ in a
			 * moment: a tenth of a second.
			 */
			CHECK(offset - was + khz * 100 < 2 * khz * 100);
			CHECK_EQ(offset_attr(next->vcpu, KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET, &was), 0);
		}
		CHECK(guest_tsc(next->vcpu) >= saved);
		vm_destroy(vm);
		vm = next;
	}
	vm_destroy(vm);
}

/* One moment by three clocks, and looking at them moves none */
TEST(get_clock_is_one_moment)
{
	struct kvm_clock_data data = { }, first = { };
	struct vm *vm = vm_create(1);
	struct timespec t;
	u64 tsc, real;
	int i;

	for (i = 0; i < 20; i++) {
		clock_gettime(CLOCK_REALTIME, &t);
		real = t.tv_sec * 1000000000ull + t.tv_nsec;
		tsc = rdtsc();
		xioctl(vm->fd, KVM_GET_CLOCK, &data);
		CHECK(data.flags & KVM_CLOCK_REALTIME);
		CHECK(data.realtime >= real);
		if (data.flags & KVM_CLOCK_HOST_TSC)
			CHECK(data.host_tsc >= tsc && data.host_tsc <= rdtsc());
		clock_gettime(CLOCK_REALTIME, &t);
		CHECK(data.realtime <= t.tv_sec * 1000000000ull + t.tv_nsec);
		if (!i)
			first = data;
		/* Their rates differ by far less than a hundredth of a second in this time. */
		CHECK((data.clock - first.clock) - (data.realtime - first.realtime) + 10000000 < 20000000);
	}
	/* What GET gives SET takes; the TSC and "stable" are not looked at. */
	data.host_tsc = 0;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data), 0);
	vm_destroy(vm);
}

/* ---- the rate ---- */

static u64 guest_clock_at_page;

static void guest_clocks(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, PAGE | 1);
	for (;;) {
		this_cpu()->value = rdtsc();
		out32(PORT_SYNC, 0);
		*(volatile u64 *)&guest_clock_at_page = pv_clock((void *)PAGE);
		out32(PORT_SYNC, 0);
	}
}

static u64 host_clock(struct vm *vm)
{
	struct kvm_clock_data data = { };

	xioctl(vm->fd, KVM_GET_CLOCK, &data);
	return data.clock;
}

static void rate(u64 khz, u64 host_khz)
{
	struct vm *vm = vm_create(0);
	u64 host[4], guest[2], before, after, clock;
	struct vcpu *vcpu;

	xioctl(vm->fd, KVM_SET_TSC_KHZ, khz);
	vcpu = vcpu_create(vm, 0);
	xioctl(vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL), khz);
	vcpu_set_long(vcpu, guest_clocks, 0);
	host[0] = rdtsc();
	guest[0] = guest_tsc(vcpu);
	host[1] = rdtsc();
	before = host_clock(vm);
	REQUIRE_EQ(vcpu_run(vcpu), RUN_SYNC);
	after = host_clock(vm);
	clock = *guest_var(vm, &guest_clock_at_page);
	if (clock < before || clock > after)
		tap_fail(__FILE__, __LINE__,
			 "at %llu kHz the guest's clock is %llu, not in %llu..%llu", (long long)khz,
			 (long long)clock, (long long)before, (long long)after);
	usleep(100000);
	host[2] = rdtsc();
	guest[1] = guest_tsc(vcpu);
	host[3] = rdtsc();
	/*
	 * Between the shortest and the longest time that may have passed, and a tick for rounding
	 */
	CHECK(guest[1] - guest[0] + 2 >= (u64)((unsigned __int128)(host[2] - host[1]) * (khz - 1) / host_khz));
	CHECK(guest[1] - guest[0] <= (u64)((unsigned __int128)(host[3] - host[0]) * (khz + 1) / host_khz) + 2);
	vm_destroy(vm);
}

TEST(own_rate)
{
	struct vm *vm = vm_create_bare(1);
	u64 khz = kvm_ioctl(vm->vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	if (kvm_cap(vm->kvm, KVM_CAP_TSC_CONTROL) <= 0) {
		CHECK_EQ(kvm_cap(vm->kvm, KVM_CAP_VM_TSC_CONTROL), 0);
		CHECK_EQ(kvm_ioctl_val(vm->vcpu->fd, KVM_SET_TSC_KHZ, khz * 2), -EINVAL);
		CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_TSC_KHZ, NULL), khz);
		vm_destroy(vm);
		vm = vm_create_bare(0);
		CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_TSC_KHZ, khz * 2), -EINVAL);
		CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_TSC_KHZ, khz), 0);
		CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_TSC_KHZ, NULL), khz);
		tap_skip("no TSC scaling");
	}
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_TSC_KHZ, khz * 2), -EINVAL);
	vm_destroy(vm);
	rate(khz * 2, khz);
	rate(khz / 3, khz);
}

/* ---- not back ---- */

static void guest_looks(void)
{
	u64 tsc = 0, clock = 0, now;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, PAGE | 1);
	guest_sti();
	guest_sync(0);
	while (!stop) {
		now = rdtsc();
		backwards += now < tsc;
		tsc = now;
		now = pv_clock((void *)PAGE);
		backwards += now < clock;
		clock = now;
		looks++;
	}
	guest_done();
}

static struct vm *looking_vm(pthread_t *thread)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_looks, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	pthread_create(thread, NULL, run_to_done, vm->vcpu);
	return vm;
}

static void stop_looking(struct vm *vm, pthread_t thread)
{
	*guest_var(vm, &stop) = 1;
	pthread_join(thread, NULL);
	CHECK(*guest_var(vm, &looks) > 0);
	CHECK_EQ(*guest_var(vm, &backwards), 0);
	vm_destroy(vm);
}

TEST_TIMEOUT(moves_between_cpus, 120)
{
	pthread_t thread;
	cpu_set_t cpus;
	struct vm *vm;
	u64 n, before;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		tap_skip("one CPU");
	vm = looking_vm(&thread);
	for (n = 0; n < 200; n++) {
		CPU_ZERO(&cpus);
		CPU_SET(n & 1, &cpus);
		before = *guest_var(vm, &looks);
		CHECK_EQ(pthread_setaffinity_np(thread, sizeof(cpus), &cpus), 0);
		while (*guest_var(vm, &looks) < before + 2)
			sched_yield();
	}
	stop_looking(vm, thread);
}

TEST_TIMEOUT(host_sleeps, 120)
{
	struct vm *vm;
	pthread_t thread;
	u64 before, before_clock;

	need_memory_sleep();
	vm = looking_vm(&thread);
	usleep(10000);
	before_clock = host_clock(vm);
	REQUIRE(sleep_and_wake());
	CHECK(host_clock(vm) > before_clock);
	before = *guest_var(vm, &looks);
	while (*guest_var(vm, &looks) < before + 100)
		usleep(1000);
	stop_looking(vm, thread);
}
