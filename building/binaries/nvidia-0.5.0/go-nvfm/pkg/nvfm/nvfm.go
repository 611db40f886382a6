// Package nvfm stands in for NVIDIA's bindings to the client library of Fabric Manager.
//
// The Go module proxy knows github.com/NVIDIA/go-nvfm and does not serve it. The driver calls it
// only where its feature gate FabricManagerPartitioning is on. Here are the names that the driver
// uses; Init always fails, and without it the driver calls nothing else.
package nvfm

// Return is the answer of a call.
type Return int32

const (
	// SUCCESS is the answer of a call that did what it is for.
	SUCCESS Return = 0

	notBuiltIn Return = 1
)

func (r Return) String() string {
	if r == SUCCESS {
		return "SUCCESS"
	}
	return "this build of the driver has a stand-in for go-nvfm, which reaches no Fabric Manager"
}

// FabricPartitionId numbers a partition.
type FabricPartitionId uint32

// FabricPartitionGpuInfo tells of a GPU of a partition.
type FabricPartitionGpuInfo struct {
	PhysicalId          uint32
	Uuid                [64]int8
	PciBusId            [32]int8
	NumNvLinksAvailable uint32
	MaxNumNvLinks       uint32
	NvlinkLineRateMBps  uint32
}

// FabricPartitionInfo tells of a partition.
type FabricPartitionInfo struct {
	PartitionId FabricPartitionId
	IsActive    uint32
	NumGpus     uint32
	GpuInfo     [16]FabricPartitionGpuInfo
}

// FabricPartitionList has partitions, the first NumPartitions of them valid.
type FabricPartitionList struct {
	NumPartitions uint32
	PartitionInfo [64]FabricPartitionInfo
}

// Handle is a connection to Fabric Manager.
type Handle interface {
	ActivateFabricPartition(FabricPartitionId) Return
	DeactivateFabricPartition(FabricPartitionId) Return
	Disconnect() Return
	GetSupportedFabricPartitions() (FabricPartitionList, Return)
}

// Interface is the client library.
type Interface interface {
	Connect(...ConnectOption) (Handle, Return)
	Init() Return
	Shutdown() Return
}

// LibraryOption says where the client library is.
type LibraryOption struct{}

// ConnectOption says where Fabric Manager is and how long to wait for it.
type ConnectOption struct{}

type standIn struct{}

func (standIn) Connect(...ConnectOption) (Handle, Return) { return nil, notBuiltIn }
func (standIn) Init() Return                              { return notBuiltIn }
func (standIn) Shutdown() Return                          { return SUCCESS }

// New returns the stand-in.
func New(...LibraryOption) Interface { return standIn{} }

// WithLibraryPath is without effect.
func WithLibraryPath(string) LibraryOption { return LibraryOption{} }

// WithUnixSocket is without effect.
func WithUnixSocket(string) ConnectOption { return ConnectOption{} }

// WithAddress is without effect.
func WithAddress(string) ConnectOption { return ConnectOption{} }

// WithTimeoutMs is without effect.
func WithTimeoutMs(uint32) ConnectOption { return ConnectOption{} }
