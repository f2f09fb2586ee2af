/**
 * The PowerShell texts of the Windows targets, one constant per operation. What an operator configures and what is deployed
 * reaches them as one JSON document on standard input and is only ever a value in them: no text here is put together from
 * input. They keep to what Windows PowerShell 5.1 knows, and to verbatim strings: nothing in them is expanded.
 *
 * Every script ends with one line, the marker and the base64 of a JSON document: whatever the console's code page, and
 * whatever else a module prints.
 */
import { answerMarker } from "../powershell"

/**
 * `$input` and not [Console]::In: the host itself reads a redirected standard input, to pass it on as this, and the two
 * would race for the bytes.
 */
const opening = `
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
$given = ConvertFrom-Json -InputObject (@($input) -join '')

function Write-Answer($answer) {
  $json = ConvertTo-Json -InputObject $answer -Compress -Depth 5
  [System.Console]::Out.WriteLine('${answerMarker}' + [System.Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($json)))
}
`

/** `$store` and `$path`, and what is known of the certificate there. */
const looking = `
$store = 'Cert:\\' + $given.store_location + '\\' + $given.store_name
$path = $store + '\\' + $given.thumbprint

function Assert-Store {
  if (-not (Test-Path -LiteralPath $store)) { throw ('the certificate store ' + $store + ' does not exist') }
}

function Get-StoredState {
  if (-not (Test-Path -LiteralPath $path)) { return 'NOT_FOUND' }
  $certificate = Get-Item -LiteralPath $path
  $now = Get-Date
  if ($certificate.NotAfter -le $now -or $certificate.NotBefore -gt $now) { return 'EXPIRED' }
  if (-not $certificate.HasPrivateKey) { return 'NO_KEY' }
  'VALID'
}

function Remove-Given($was_present) {
  if (-not $was_present -and (Test-Path -LiteralPath $path)) { Remove-Item -LiteralPath $path -DeleteKey }
}
`

/** Import-PfxCertificate reads files only. What a killed run left in the folder (encrypted) goes with the next one. */
const importing = (options: "" | " -Exportable") => `
function Import-Given {
  $folder = [System.IO.Path]::GetTempPath()
  $yesterday = (Get-Date).AddHours(-24)
  Get-ChildItem -LiteralPath $folder -Filter 'certctl-*.pfx' -ErrorAction SilentlyContinue | Where-Object { $_.LastWriteTime -lt $yesterday } | Remove-Item -Force -ErrorAction SilentlyContinue
  $file = Join-Path -Path $folder -ChildPath ('certctl-' + [System.Guid]::NewGuid().ToString('N') + '.pfx')
  try {
    [System.IO.File]::WriteAllBytes($file, [System.Convert]::FromBase64String($given.pfx))
    $password = ConvertTo-SecureString -String $given.pfx_password -AsPlainText -Force
    $null = Import-PfxCertificate -FilePath $file -CertStoreLocation $store -Password $password${options}
  } finally {
    if (Test-Path -LiteralPath $file) { Remove-Item -LiteralPath $file -Force }
  }
  if (-not (Test-Path -LiteralPath $path)) { throw 'the certificate is not in the store after the import' }
}
`

/** Runs the body; what fails in it is an answer too, with the step it was in. */
const answering = (body: string) => `
$step = 'starting'
try {${body}} catch {
  Write-Answer @{ ok = $false; step = $step; message = $_.Exception.Message }
}
`

/**
 * Runs the body, which sets `$begun` once there is something to go back from; then what fails is answered with how the host was
 * left. `undo` must be safe at any point.
 */
const answeringWithWayBack = (body: string, undo: string) => `
$step = 'starting'
$begun = $false
try {${body}} catch {
  $problem = $_.Exception.Message
  $rolled_back = $false
  $left = ''
  if ($begun) {
    try {${undo}
      $rolled_back = $true
    } catch {
      $left = $_.Exception.Message
    }
  }
  Write-Answer @{ ok = $false; step = $step; message = $problem; rolled_back = $rolled_back; manual_action_required = ($begun -and -not $rolled_back); left = $left }
}
`

/**
 * Bindings as places: ip, port, host header, SNI or not, and what is bound there. `Get-Taken` are those that the wanted place
 * takes: with SNI the same host header, without it whatever answers on that port without SNI. A binding that is there already
 * gets its certificate changed where it stands, so that the site never stops answering; only where http.sys holds on to the old
 * one is that taken away first.
 */
const bindings = `
function Get-Place($binding) {
  $null = $binding.bindingInformation -match '^(.*):(\\d+):([^:]*)$'
  @{ ip = $Matches[1]; port = [int]$Matches[2]; host_header = $Matches[3]; ssl_flags = [int]$binding.sslFlags; thumbprint = [string]$binding.certificateHash; store_name = [string]$binding.certificateStoreName }
}

function Test-SamePlace($one, $other) {
  $one.ip -eq $other.ip -and $one.port -eq $other.port -and $one.host_header -eq $other.host_header -and ($one.ssl_flags -band 1) -eq ($other.ssl_flags -band 1)
}

function Test-Taken($place) {
  if ($place.port -ne $given.port) { return $false }
  if ($place.ip -ne $given.ip -and $place.ip -ne '*' -and $given.ip -ne '*') { return $false }
  if ($place.host_header -eq $given.host_header) { return $true }
  $given.ssl_flags -eq 0 -and ($place.ssl_flags -band 1) -eq 0
}

function Get-Taken {
  Get-WebBinding -Name $given.site_name -Protocol 'https' | Where-Object { Test-Taken (Get-Place $_) }
}

function Find-Binding($place) {
  Get-WebBinding -Name $given.site_name -Protocol 'https' | Where-Object { Test-SamePlace (Get-Place $_) $place }
}

function Set-Binding($place) {
  $found = @(Find-Binding $place)
  if ($found.Count -eq 0) {
    New-WebBinding -Name $given.site_name -Protocol 'https' -IPAddress $place.ip -Port $place.port -HostHeader $place.host_header -SslFlags $place.ssl_flags
    $found = @(Find-Binding $place)
  }
  $present = Get-Place $found[0]
  if ($present.thumbprint -eq $place.thumbprint -and $present.store_name -eq $place.store_name) { return }
  if ($place.thumbprint -eq '') {
    $found[0].RemoveSslCertificate()
    return
  }
  try {
    $found[0].AddSslCertificate($place.thumbprint, $place.store_name)
  } catch {
    $found[0].RemoveSslCertificate()
    $found[0].AddSslCertificate($place.thumbprint, $place.store_name)
  }
}

function Set-Bindings($places) {
  foreach ($binding in @(Get-Taken)) {
    $present = Get-Place $binding
    $kept = @($places | Where-Object { Test-SamePlace $_ $present })
    if ($kept.Count -eq 0) { $binding | Remove-WebBinding }
  }
  foreach ($place in $places) { Set-Binding $place }
}

function Assert-Site {
  Import-Module -Name WebAdministration
  $sites = @(Get-Website | Where-Object { $_.Name -eq $given.site_name })
  if ($sites.Count -eq 0) { throw ('the site ' + $given.site_name + ' does not exist') }
}

function Get-BoundState {
  $places = @(Get-Taken | ForEach-Object { Get-Place $_ })
  if ($places.Count -eq 0) { return 'NO_BINDING' }
  foreach ($place in $places) {
    if (-not (Test-SamePlace $place $given)) { return 'OTHER_BINDING' }
    if ($place.thumbprint -ne $given.thumbprint -or $place.store_name -ne $given.store_name) { return 'OTHER_CERTIFICATE' }
  }
  Get-StoredState
}
`

const openingIis = `
  $step = 'looking for the site'
  Assert-Site
  $step = 'opening the certificate store'
  Assert-Store
`

const restoreIis = `
      Set-Bindings @($before)
      Remove-Given $was_present`

export const iisScripts = {
  check: opening + looking + bindings + answering(`${openingIis}  Write-Answer @{ ok = $true }\n`),

  state:
    opening +
    looking +
    bindings +
    answering(`${openingIis}
  $step = 'looking at the bindings'
  $before = @(Get-Taken | ForEach-Object { Get-Place $_ })
  Write-Answer @{ ok = $true; state = Get-BoundState; before = $before; was_present = Test-Path -LiteralPath $path }
`),

  deploy:
    opening +
    looking +
    importing("") +
    bindings +
    answeringWithWayBack(
      `${openingIis}
  $step = 'looking at the bindings'
  $before = @(Get-Taken | ForEach-Object { Get-Place $_ })
  $was_present = Test-Path -LiteralPath $path
  $begun = $true
  $step = 'importing the certificate'
  Import-Given
  $step = 'binding the certificate'
  Set-Bindings @($given)
  $step = 'looking at the new binding'
  $state = Get-BoundState
  if ($state -ne 'VALID') { throw ('it is in state ' + $state) }
  Write-Answer @{ ok = $true }
`,
      restoreIis,
    ),

  restore:
    opening +
    looking +
    bindings +
    answering(`
  $step = 'looking for the site'
  Assert-Site
  $step = 'binding the previous certificate'
  $before = $given.before
  $was_present = $given.was_present${restoreIis}
  Write-Answer @{ ok = $true }
`),
} as const

const restoreStore = `
      Remove-Given $was_present
      if ($was_present) { Set-FriendlyName $friendly_name }`

const openingStore = `
  $step = 'opening the certificate store'
  Assert-Store
`

const naming = `
function Get-FriendlyName {
  if (Test-Path -LiteralPath $path) { return (Get-Item -LiteralPath $path).FriendlyName }
  ''
}

function Set-FriendlyName($name) {
  $certificate = Get-Item -LiteralPath $path
  if ($certificate.FriendlyName -ne $name) { $certificate.FriendlyName = $name }
}
`

export const winCertStoreScripts = {
  check: opening + looking + answering(`${openingStore}  Write-Answer @{ ok = $true }\n`),

  state:
    opening +
    looking +
    naming +
    answering(`${openingStore}
  $step = 'looking for the certificate'
  Write-Answer @{ ok = $true; state = Get-StoredState; friendly_name = Get-FriendlyName; was_present = Test-Path -LiteralPath $path }
`),

  deploy:
    opening +
    looking +
    importing(" -Exportable") +
    naming +
    answeringWithWayBack(
      `${openingStore}
  $step = 'looking for the certificate'
  $was_present = Test-Path -LiteralPath $path
  $friendly_name = Get-FriendlyName
  $begun = $true
  $step = 'importing the certificate'
  Import-Given
  $step = 'naming the certificate'
  if ($given.friendly_name -ne '') { Set-FriendlyName $given.friendly_name }
  $step = 'looking at the imported certificate'
  $state = Get-StoredState
  if ($state -ne 'VALID') { throw ('it is in state ' + $state) }
  Write-Answer @{ ok = $true }
`,
      restoreStore,
    ),

  restore:
    opening +
    looking +
    naming +
    answering(`
  $step = 'removing the new certificate'
  $was_present = $given.was_present
  $friendly_name = $given.friendly_name${restoreStore}
  Write-Answer @{ ok = $true }
`),

  /** Expired certificates of the same subject. Keys stay: somebody may have named one for another certificate. */
  removeExpired:
    opening +
    looking +
    answering(`
  $step = 'removing expired certificates'
  $certificate = Get-Item -LiteralPath $path
  $now = Get-Date
  $expired = @(Get-ChildItem -LiteralPath $store | Where-Object { $_.Subject -eq $certificate.Subject -and $_.Thumbprint -ne $certificate.Thumbprint -and $_.NotAfter -lt $now })
  foreach ($old in $expired) { Remove-Item -LiteralPath ($store + '\\' + $old.Thumbprint) }
  Write-Answer @{ ok = $true }
`),
} as const
